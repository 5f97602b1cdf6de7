"""The picture worker, with a tiny model."""
