"""Backup and restore: databases, stored files, the registry, secrets.

What belongs together is read in an order that keeps it whole while the system runs: rows first,
then the files that they name, for files are only ever added before their rows. Not kept are Redis
(the sweeper sends again what a job lacks), caches, and the series of Prometheus.
"""
