"""Tests with real Redis, PostgreSQL, SQLite and Celery workers."""
