"""Tests of the benchmarks: bounds and tables, without a system."""
