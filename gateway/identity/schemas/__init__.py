"""Request and response bodies of accounts, sessions, API keys and the audit log."""
