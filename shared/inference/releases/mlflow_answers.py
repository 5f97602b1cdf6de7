"""Answers of MLflow in the registry's terms: releases, missing versions, cursors and errors."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from math import inf
from typing import Any

import requests

from shared import metrics
from shared.errors import InvalidInput, NotFound, Unavailable
from shared.inference.releases.access import Release
from shared.inference.releases.mlflow_server import MlflowRefusal

#: Prefix of tags that are not figures.
TAG_PREFIX = "rayon."
STATUS_TAG, REASON_TAG = "rayon.status", "rayon.reason"
MAX_TAG = 4_000
#: Digits of the longest version number.
LONGEST_VERSION = 9


@cache
def mlflow() -> Any:
    """Import MLflow, which takes 75 MiB, and longer than everything else that a command imports."""
    import mlflow.artifacts
    import mlflow.exceptions

    return mlflow


@contextmanager
def unavailable_if_down() -> Iterator[None]:
    """Raise `Unavailable` for any error of MLflow."""
    try:
        yield
    except _failures() as error:
        metrics.dependency_failures_total.labels("registry").inc()
        raise Unavailable(f"The model registry does not answer: {error}") from error


def is_answer(error: BaseException | None) -> bool:
    """Return True for an error that MLflow itself has answered with."""
    return isinstance(error, (MlflowRefusal, *_errors_of_client("RestException")))


def _failures() -> tuple[type[Exception], ...]:
    return (MlflowRefusal, requests.RequestException, *_errors_of_client("MlflowException"))


def _errors_of_client(name: str) -> tuple[type[Exception], ...]:
    """Return a class of errors of MLflow's client, which raises none while it is not imported."""
    exceptions = sys.modules.get("mlflow.exceptions")
    return () if exceptions is None else (getattr(exceptions, name),)


@contextmanager
def not_found(version_or_alias: str) -> Iterator[None]:
    """Raise `NotFound` if MLflow has no such version or alias."""
    try:
        yield
    except MlflowRefusal as error:
        if is_missing(error):
            raise NotFound(f"No release {version_or_alias!r}") from error
        raise


@contextmanager
def foreign_cursor(cursor: str | None) -> Iterator[None]:
    """Raise `InvalidInput` if MLflow refuses a cursor."""
    try:
        yield
    except MlflowRefusal as error:
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


def next_cursor(page: Mapping[str, Any]) -> str | None:
    """Return the cursor of the page after an answer of MLflow, if there is one."""
    token = page.get("next_page_token")
    return f"{page['model_versions'][-1]['version']}.{token}" if token else None


def is_version(name: str) -> bool:
    """Return True for a version number; MLflow would read `007` as 7, and refuse larger ones."""
    is_number = name.isascii() and name.isdecimal() and not name.startswith("0")
    return is_number and len(name) <= LONGEST_VERSION


def is_missing(error: Any) -> bool:
    """Return True if an error of MLflow says that it has no such model, version, run or alias."""
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


def release_of(version: Mapping[str, Any]) -> Release:
    """Return a version, as MLflow answers it, as a release."""
    tags = {one["key"]: one["value"] for one in version.get("tags", ())}
    return Release(
        version=str(version["version"]),
        aliases=tuple(sorted(version.get("aliases", ()))),
        created_at=datetime.fromtimestamp(int(version["creation_timestamp"]) / 1000, UTC),
        description=version.get("description", ""),
        figures={
            name: float(value) for name, value in tags.items() if not name.startswith(TAG_PREFIX)
        },
        rejected=tags.get(REASON_TAG, "for no stated reason")
        if tags.get(STATUS_TAG) == "rejected"
        else None,
    )


def _foreign(cursor: str) -> InvalidInput:
    return InvalidInput(
        f"Expected a `next_cursor` of a previous page. Received: {cursor!r}", field=("cursor",)
    )
