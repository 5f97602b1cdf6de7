"""Results of catalogs: rows with their answers, as CSV, JSON Lines and workbooks."""
