"""Drift reference of a release: descriptors of held-out products."""
