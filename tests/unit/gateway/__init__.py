"""The gateway: routes through the test client, rows in SQLite."""
