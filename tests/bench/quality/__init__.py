"""Benchmarks of drift detection, estimated quality, retraining and reports."""
