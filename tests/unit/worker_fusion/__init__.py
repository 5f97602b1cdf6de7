"""The join, on SQLite."""
