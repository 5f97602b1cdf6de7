"""Alembic migrations, run by `python -m shared.db.migrations`."""
