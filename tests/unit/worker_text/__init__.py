"""Tests of the text worker with a tiny model."""
