"""Answers of MLflow in the registry's terms: releases, missing versions, cursors and errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from math import inf
from typing import TYPE_CHECKING, Any

import requests

from shared import metrics
from shared.errors import InvalidInput, NotFound, Unavailable
from shared.inference.releases.access import Release

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.exceptions import MlflowException
    from mlflow.store.entities import PagedList

#: Prefix of tags that are not figures.
TAG_PREFIX = "rayon."
STATUS_TAG, REASON_TAG = "rayon.status", "rayon.reason"
MAX_TAG = 4_000
#: Digits of the longest version number.
LONGEST_VERSION = 9


@cache
def mlflow() -> Any:
    """Import MLflow, which takes longer than everything else that a command imports."""
    import mlflow.artifacts
    import mlflow.exceptions

    return mlflow


@contextmanager
def unavailable_if_down() -> Iterator[None]:
    """Raise `Unavailable` for any error of MLflow."""
    try:
        yield
    except (mlflow().exceptions.MlflowException, requests.RequestException) as error:
        metrics.dependency_failures_total.labels("registry").inc()
        raise Unavailable(f"The model registry does not answer: {error}") from error


def is_answer(error: BaseException | None) -> bool:
    """Return True for an error that MLflow itself has answered with."""
    return isinstance(error, mlflow().exceptions.RestException)


@contextmanager
def not_found(version_or_alias: str) -> Iterator[None]:
    """Raise `NotFound` if MLflow has no such version or alias."""
    try:
        yield
    except mlflow().exceptions.MlflowException as error:
        if is_missing(error):
            raise NotFound(f"No release {version_or_alias!r}") from error
        raise


@contextmanager
def foreign_cursor(cursor: str | None) -> Iterator[None]:
    """Raise `InvalidInput` if MLflow refuses a cursor."""
    try:
        yield
    except mlflow().exceptions.MlflowException as error:
        if cursor is not None and error.error_code == "INVALID_PARAMETER_VALUE":
            raise _foreign(cursor) from error
        raise


def read_cursor(cursor: str | None) -> tuple[float, str | None]:
    """Return the version that a page begins below, and MLflow's token of the page.

    Raises:
        InvalidInput: The cursor was not made by `next_cursor`.
    """
    if cursor is None:
        return inf, None
    version, _, token = cursor.partition(".")
    if not (is_version(version) and token):
        raise _foreign(cursor)
    return int(version), token


def next_cursor(page: "PagedList[ModelVersion]") -> str | None:
    """Return the cursor of the page after this one, if there is one."""
    token = page.token
    if not token:
        return None
    # MLflow's server sends text, its database layer returns bytes.
    text = token.decode() if isinstance(token, bytes) else token
    return f"{page[-1].version}.{text}"


def is_version(name: str) -> bool:
    """Return True for a version number; MLflow would read `007` as 7, and refuse larger ones."""
    is_number = name.isascii() and name.isdecimal() and not name.startswith("0")
    return is_number and len(name) <= LONGEST_VERSION


def is_missing(error: "MlflowException") -> bool:
    """Return True if MLflow has no such model, version or alias."""
    # A missing alias is reported as a bad parameter, a missing model or version as not existing.
    if error.error_code == "RESOURCE_DOES_NOT_EXIST":
        return True
    return error.error_code == "INVALID_PARAMETER_VALUE" and "alias" in str(error)


def status_tags(rejected: str | None) -> dict[str, str]:
    """Return the tags of a version that may serve, or of one that was rejected."""
    if rejected is None:
        return {}
    # MLflow rejects longer tags.
    return {STATUS_TAG: "rejected", REASON_TAG: rejected[:MAX_TAG]}


def release_of(version: "ModelVersion") -> Release:
    """Return a version as a release."""
    return Release(
        version=str(version.version),
        aliases=tuple(sorted(version.aliases)),
        created_at=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
        description=version.description or "",
        figures={
            name: float(value)
            for name, value in version.tags.items()
            if not name.startswith(TAG_PREFIX)
        },
        rejected=version.tags.get(REASON_TAG, "for no stated reason")
        if version.tags.get(STATUS_TAG) == "rejected"
        else None,
    )


def _foreign(cursor: str) -> InvalidInput:
    return InvalidInput(
        f"Expected a `next_cursor` of a previous page. Received: {cursor!r}", field=("cursor",)
    )
