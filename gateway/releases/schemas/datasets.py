"""Response bodies of datasets and their versions."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field


class DatasetVersionOut(BaseModel):
    """Version of a dataset; immutable once it is ready."""

    version: int
    status: Literal["checking", "ready", "failed", "deleting"]
    created_at: datetime
    created_by: str
    finished_at: datetime | None
    rows: int | None
    classes: int | None
    pictures: int | None = Field(validation_alias="images")
    fingerprint: str | None = Field(description="SHA-256 of the content.")
    message: str | None = Field(description="Reason of a failed or delayed validation.")


class DatasetVersionReport(DatasetVersionOut):
    """Version with its base, uploaded parts and validation report."""

    asked: dict[str, Any]
    report: dict[str, Any] | None


class DatasetOut(BaseModel):
    """Dataset with its versions, newest first."""

    name: str
    versions: list[DatasetVersionOut]


class DatasetReportOut(BaseModel):
    """Dataset with its versions, newest first, and their reports."""

    name: str
    versions: list[DatasetVersionReport]


class DatasetList(BaseModel):
    """Datasets, ordered by name."""

    items: list[DatasetOut]
