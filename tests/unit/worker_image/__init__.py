"""Tests of the image worker with a tiny model."""
