"""Routes of the rows of catalogs that need a person."""
