"""Serving of a release: batches, model pool, slices and the worker process."""
