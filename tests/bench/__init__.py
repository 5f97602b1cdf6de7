"""Benchmarks, by purpose: load, limits, faults, quality and rivals."""
