"""HTTP API of Rayon. Stores jobs and publishes messages; only this package imports FastAPI."""
