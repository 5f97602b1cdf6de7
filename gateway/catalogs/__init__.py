"""Whole catalogs: upload, check, feed to the workers, and write the results."""
