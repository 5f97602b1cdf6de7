"""Checks of a running system: smoke test, golden products and F1 of a dataset."""
