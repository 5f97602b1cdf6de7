"""HTTP in, rows and messages out; the only package that knows FastAPI."""
