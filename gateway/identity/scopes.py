"""What API keys may be for."""

from enum import StrEnum


class Scope(StrEnum):
    """What an API key may be for. Accounts, sessions and keys are kept by people, not by keys."""

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
