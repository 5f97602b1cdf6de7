"""Watches a promoted release over its first answers, and rolls it back if it is worse."""
