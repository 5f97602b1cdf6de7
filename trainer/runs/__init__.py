"""Training runs: queue, leases, child processes and delivery of the result."""
