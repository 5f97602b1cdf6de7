"""Drift detection: windows of recent answers against the release's reference."""
