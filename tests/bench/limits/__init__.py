"""Cost of each part of the system; see `__main__`."""
