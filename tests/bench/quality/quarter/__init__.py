"""Three months of a shop from real held-out rows; run with `python -m`."""
