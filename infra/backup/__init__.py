"""Backup and restore: databases, stored files, the registry, secrets.

What belongs together is read in an order that keeps it whole while the system runs. Files are added
before their rows, so rows are read first and then the files that they name. Some go when they have
served: the images of a catalog, and what was sent of a dataset (`stored.unfinished`). Those are
read before the rows as well, or a row that waits for them would come back without. Not kept are
Redis (the sweeper sends again what a job lacks), caches, and the series of Prometheus.
"""
