"""Drift detection: recent windows of answers compared with the release's reference."""
