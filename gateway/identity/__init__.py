"""Accounts, sign-in, sessions, API keys, permissions and the audit log."""
