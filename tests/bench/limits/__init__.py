"""Cost of each part of the system; run with `python -m tests.bench.limits`."""
