"""Routes of the answers of a catalog."""
