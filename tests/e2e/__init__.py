"""The whole system, started as `make run` starts it."""
