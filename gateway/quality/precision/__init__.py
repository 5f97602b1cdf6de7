"""Precision of accepted answers: which answers to accept so that a share of them is right."""
