"""Queues, dead letters, readiness, retention and the requeueing of lost jobs."""
