"""Benchmarks of throughput, response times, CPU time and memory."""
