"""Scopes of API keys."""

from enum import StrEnum


class Scope(StrEnum):
    """A permission of an API key.

    Accounts, sessions and API keys have no scope: only signed-in people manage them.
    """

    JOBS_READ = "jobs:read"
    JOBS_WRITE = "jobs:write"
    CATALOGS_READ = "catalogs:read"
    CATALOGS_WRITE = "catalogs:write"
    MODELS_READ = "models:read"
    MODELS_WRITE = "models:write"
    DATASETS_READ = "datasets:read"
    DATASETS_WRITE = "datasets:write"
    TRAINING_READ = "training:read"
    TRAINING_WRITE = "training:write"
    OPERATIONS_READ = "operations:read"
    OPERATIONS_WRITE = "operations:write"
