"""The whole system on one machine, without Docker: `python -m infra.embedded`."""
