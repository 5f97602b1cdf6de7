"""Trains releases: reads data, fits the models, tests them, registers the result."""
