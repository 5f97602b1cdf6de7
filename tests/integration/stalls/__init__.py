"""Stores that stall: stopped, locked or silent, while the gateway serves."""
