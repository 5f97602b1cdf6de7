"""Scores pictures with Xception."""
