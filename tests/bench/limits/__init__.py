"""What each part of the system costs; see `__main__`."""
