"""The rows: models, sessions, migrations."""
