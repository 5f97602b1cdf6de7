"""Real Redis, PostgreSQL, SQLite and Celery workers."""
