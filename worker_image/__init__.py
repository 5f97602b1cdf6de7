"""Scores images with Xception."""
