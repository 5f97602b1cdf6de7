"""Tables as shops export them: CSV of any dialect and encoding, JSON and spreadsheets."""
