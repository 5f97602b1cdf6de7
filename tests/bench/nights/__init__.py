"""Faults of a night: what stalls, fills, breaks or dies, and what becomes of the jobs meanwhile."""
