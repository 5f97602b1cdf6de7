"""Repair rows of a catalog, and run the repaired ones into the same results."""
