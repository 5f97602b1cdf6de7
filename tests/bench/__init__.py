"""Measurements of a running system, on request."""
