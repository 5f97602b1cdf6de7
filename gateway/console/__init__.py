"""The console: pages for people, rendered by the gateway below `/console`."""
