"""Response bodies of datasets and their versions."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field


class DatasetVersionOut(BaseModel):
    """A version of a dataset. Immutable once it is ready."""

    version: int
    status: Literal["checking", "ready", "failed", "deleting"]
    created_at: datetime
    created_by: str
    finished_at: datetime | None
    rows: int | None
    classes: int | None = Field(description="Number of categories.")
    pictures: int | None = Field(validation_alias="images", description="Number of images.")
    fingerprint: str | None = Field(description="SHA-256 of the content.")
    message: str | None = Field(description="Reason of a failed or delayed validation.")


class DatasetVersionReport(DatasetVersionOut):
    """A version with its base, its uploaded files and its validation report."""

    asked: dict[str, Any] = Field(
        description="Requested change: `base` version, uploaded `files`, `remove`d row IDs, and "
        "`corrected` if labelled jobs were added."
    )
    report: dict[str, Any] | None = Field(
        description="Findings of the validation, and rows by the user who labelled them (`labels`)."
    )


class DatasetOut(BaseModel):
    """A dataset with its versions, newest first."""

    name: str
    versions: list[DatasetVersionOut]


class DatasetReportOut(BaseModel):
    """A dataset with its versions and their reports, newest first."""

    name: str
    versions: list[DatasetVersionReport]


class DatasetList(BaseModel):
    """All datasets, sorted by name."""

    items: list[DatasetOut]
