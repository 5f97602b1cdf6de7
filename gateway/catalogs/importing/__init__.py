"""Drafts, which are checked before they run, and uploads in pieces."""
