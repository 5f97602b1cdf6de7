"""Releases, and what they are made from: datasets and training runs."""
