"""Soak: a steady load for an hour, and what grows meanwhile."""
