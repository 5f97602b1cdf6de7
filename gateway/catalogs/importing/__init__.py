"""Drafts: uploads that are looked at and checked, with other columns perhaps, before they run."""
