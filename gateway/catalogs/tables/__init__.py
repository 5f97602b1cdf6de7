"""Tables as shops export them, read row by row: CSV of any kind, or JSON Lines."""
