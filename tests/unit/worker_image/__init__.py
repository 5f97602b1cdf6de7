"""The image worker, with a tiny model."""
