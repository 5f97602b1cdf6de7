"""Submission of single products."""
