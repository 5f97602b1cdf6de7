"""Benchmarks that inject faults or attack, and count what is lost."""
