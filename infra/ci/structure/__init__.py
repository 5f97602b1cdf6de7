"""Figures of the code's structure, and the limits that `make lint` enforces on them."""
