"""Shared code of all services: contracts, settings, database, message queue, models."""
