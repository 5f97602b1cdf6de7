"""Routes of imports: drafts of catalogs, and uploads that can be resumed."""
