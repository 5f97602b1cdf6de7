"""Database tables, one module for each subject.

This package imports all modules, so importing any table registers every table in the metadata.
"""

from shared.db.models.accounts import (
    ApiKey,
    LoginSession,
    OneTimeCode,
    Role,
    User,
)
from shared.db.models.audit import (
    AuditEntry,
)
from shared.db.models.base import (
    ID,
    Base,
    UtcDateTime,
    first_id_of,
    new_id,
    now,
)
from shared.db.models.catalogs import (
    MOST_ROWS,
    ROW_DIGITS,
    Catalog,
    CatalogRowRepair,
    CatalogStatus,
    RepairStatus,
    new_catalog_id,
    row_job_id,
    row_of_job,
)
from shared.db.models.datasets import (
    DatasetStatus,
    DatasetVersion,
)
from shared.db.models.jobs import (
    HAS_PRODUCT,
    NOT_DONE,
    Explanation,
    ExplanationStatus,
    IdempotencyKey,
    Job,
    JobStatus,
    Review,
    Score,
)
from shared.db.models.messages import (
    DeadLetter,
)
from shared.db.models.monitoring import (
    AlertStatus,
    DriftAlert,
    DriftWindow,
    Performance,
    Report,
    ReportRequest,
)
from shared.db.models.training import (
    Promotion,
    TrainingRun,
    TrainingStatus,
    WatchState,
)

__all__ = [
    "HAS_PRODUCT",
    "ID",
    "MOST_ROWS",
    "NOT_DONE",
    "ROW_DIGITS",
    "AlertStatus",
    "ApiKey",
    "AuditEntry",
    "Base",
    "Catalog",
    "CatalogRowRepair",
    "CatalogStatus",
    "DatasetStatus",
    "DatasetVersion",
    "DeadLetter",
    "DriftAlert",
    "DriftWindow",
    "Explanation",
    "ExplanationStatus",
    "IdempotencyKey",
    "Job",
    "JobStatus",
    "LoginSession",
    "OneTimeCode",
    "Performance",
    "Promotion",
    "RepairStatus",
    "Report",
    "ReportRequest",
    "Review",
    "Role",
    "Score",
    "TrainingRun",
    "TrainingStatus",
    "User",
    "UtcDateTime",
    "WatchState",
    "first_id_of",
    "new_catalog_id",
    "new_id",
    "now",
    "row_job_id",
    "row_of_job",
]
