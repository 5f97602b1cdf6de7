"""Datasets and their versions."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field


class DatasetVersionOut(BaseModel):
    """One version of a dataset; once it is ready it never changes."""

    version: int
    status: Literal["checking", "ready", "failed", "deleting"]
    created_at: datetime
    created_by: str
    finished_at: datetime | None
    rows: int | None
    classes: int | None
    pictures: int | None = Field(validation_alias="images")
    fingerprint: str | None = Field(description="SHA-256: equal for equal content.")
    message: str | None = Field(description="Why it failed, or cannot be checked just now.")


class DatasetVersionReport(DatasetVersionOut):
    """A version, what it was made from, and what is wrong with it."""

    asked: dict[str, Any]
    report: dict[str, Any] | None


class DatasetOut(BaseModel):
    """A dataset and its versions, newest first."""

    name: str
    versions: list[DatasetVersionOut]


class DatasetReportOut(BaseModel):
    """A dataset and its versions, newest first, with their reports."""

    name: str
    versions: list[DatasetVersionReport]


class DatasetList(BaseModel):
    """Datasets in the order of their names."""

    items: list[DatasetOut]
