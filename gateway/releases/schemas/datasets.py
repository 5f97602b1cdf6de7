"""Response bodies of datasets and their versions."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field


class DatasetVersionOut(BaseModel):
    """A version of a dataset. Immutable once it is ready."""

    version: int = Field(description="Number of the version, from 1.")
    status: Literal["checking", "ready", "failed", "deleting"] = Field(
        description="`checking`: the trainer validates it. `ready`: a training run can use it. "
        "`failed`: see `message`. `deleting`: its dataset is being deleted."
    )
    created_at: datetime = Field(description="Time of the upload, in UTC.")
    created_by: str = Field(description="Username, or `monitor` for one that it made.")
    finished_at: datetime | None = Field(
        description="Time at which the validation ended, in UTC; `null` before."
    )
    rows: int | None = Field(description="Number of rows; `null` before the validation.")
    classes: int | None = Field(description="Number of categories; `null` before the validation.")
    pictures: int | None = Field(
        validation_alias="images", description="Number of images; `null` before the validation."
    )
    fingerprint: str | None = Field(
        description="SHA-256 of the content; `null` before the validation."
    )
    message: str | None = Field(
        description="Reason of a failed or delayed validation; `null` without one."
    )


class DatasetVersionReport(DatasetVersionOut):
    """A version with its base, its uploaded files and its validation report."""

    asked: dict[str, Any] = Field(
        description="Requested change: `base` version, uploaded `files`, `remove`d row IDs, and "
        "`corrected` if labelled jobs were added."
    )
    report: dict[str, Any] | None = Field(
        description="Findings about the version, with the `rows` (numbers in the file, or IDs) and "
        "the `lines` of the file that they are about; `added`, the counts and findings of the file "
        "that a version adds to an earlier one; `levels` and `separator` of the tree that its "
        "categories form; and rows by the user who labelled them (`labels`). `null` before the "
        "validation."
    )


class DatasetOut(BaseModel):
    """A dataset with its versions, newest first."""

    name: str = Field(description="Name of the dataset.")
    versions: list[DatasetVersionOut] = Field(description="Its versions, newest first.")


class DatasetReportOut(BaseModel):
    """A dataset with its versions and their reports, newest first."""

    name: str = Field(description="Name of the dataset.")
    versions: list[DatasetVersionReport] = Field(
        description="Its versions and their reports, newest first."
    )


class DatasetList(BaseModel):
    """All datasets, sorted by name."""

    items: list[DatasetOut] = Field(description="The datasets.")
