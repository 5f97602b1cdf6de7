"""Catalogs: accept uploads, check their rows, feed them to the workers, and write the results."""
