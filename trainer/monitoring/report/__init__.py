"""The monthly report: quality, traffic and events, with a verdict on the models."""
