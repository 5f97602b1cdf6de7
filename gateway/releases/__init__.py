"""Releases that serve, and what they are trained on: datasets and training runs."""
