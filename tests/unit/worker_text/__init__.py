"""The text worker, with a tiny model."""
