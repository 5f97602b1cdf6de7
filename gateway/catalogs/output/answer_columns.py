"""Columns of the answers in the results of a catalog, and the reasons in words."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, TextIO

from sqlalchemy import RowMapping

from gateway.catalogs.admission import UNFINISHED
from gateway.catalogs.products import image_name
from shared.db.models import Catalog, CatalogRowRepair, JobStatus
from shared.tables.rows import Row

#: Columns appended to the uploaded ones; a name that is taken gets the prefix `rayon_`.
ANSWER_COLUMNS = (
    "prdtypecode",
    "category",
    "confidence",
    "top_3",
    "modalities",
    "degraded",
    "status",
    "error_code",
    "rayon_message",
    "top_3_names",
    "novelty",
    "is_foreign",
)
#: Code of a row without a job, because its check failed.
ROW_REJECTED = "row_rejected"
PREFIX = "rayon_"
#: End of the message about an image without content.
EMPTY_FILE = "an empty file"


def answer_names(columns: Iterable[str], extra: Iterable[str] = ()) -> dict[str, str]:
    """Return the name of each answer column beside the uploaded columns, none of them twice.

    Args:
        columns: The uploaded columns.
        extra: Columns that are added after the answer.
    """
    taken = {column.strip().casefold() for column in columns}
    names = {}
    for name in (*ANSWER_COLUMNS, *extra):
        names[name] = _free(name, taken)
        taken.add(names[name])
    return names


def _free(name: str, taken: set[str]) -> str:
    prefixed = name if name.startswith(PREFIX) else f"{PREFIX}{name}"
    number = 2
    found = name if name not in taken else prefixed
    while found in taken:
        found, number = f"{prefixed}_{number}", number + 1
    return found


def answer_of(
    row: Row,
    job: RowMapping | None,
    catalog: Catalog,
    reason: str | None,
    repair: CatalogRowRepair | None = None,
) -> dict[str, Any]:
    """Return the answer columns of a row.

    Args:
        row: The row, as uploaded or as repaired.
        job: The job of the row; `None` if it has none.
        catalog: The catalog of the row.
        reason: Why the row was rejected; `None` if it was not.
        repair: The repair that a run includes, if there is one.
    """
    if job is None:
        status = _without_job(row, catalog) if repair is None else JobStatus.QUEUED.value
        if status != "rejected":
            return {"status": status}
        return {"status": status, "error_code": ROW_REJECTED, "rayon_message": reason}
    answer = {
        "status": job["status"],
        "error_code": job["error_code"],
        "rayon_message": job["error_message"],
    }
    if job["status"] != JobStatus.DONE.value:
        return answer
    result: dict[str, Any] = job["result"]
    return answer | {
        "prdtypecode": job["prdtypecode"],
        "category": result["category"],
        "confidence": job["confidence"],
        "top_3": " ".join(
            f"{guess['prdtypecode']}:{guess['probability']}" for guess in result["top"][:3]
        ),
        "modalities": " ".join(
            f"{modality}={guess['prdtypecode']}:{guess['confidence']}"
            for modality, guess in result["modalities"].items()
        ),
        "degraded": result["degraded"],
        "rayon_message": _degraded(row, result, catalog, repair),
        "top_3_names": " | ".join(
            f"{guess['category']}: {guess['probability']}" for guess in result["top"][:3]
        ),
        "novelty": result.get("novelty"),
        "is_foreign": result.get("is_foreign"),
    }


def _without_job(row: Row, catalog: Catalog) -> str:
    if row.number <= catalog.fed_until:
        return "rejected"
    return "queued" if catalog.status in UNFINISHED else "cancelled"


def _degraded(
    row: Row, result: Mapping[str, Any], catalog: Catalog, repair: CatalogRowRepair | None
) -> str | None:
    """Return why an answer does not use the whole row; `None` if it does."""
    name = image_name(row)
    if repair is not None and repair.joined_image_uri is not None:
        # Its image is not from the archive.
        return result["degraded"] and str(result.get("degraded_message") or result["degraded"])
    if result["degraded"] == "image_missing" and name:
        return f"The image {name!r} is not in the archive, or its name is not unique"
    if result["degraded"] == "image_unreadable" and catalog.has_images:
        reason = str(result.get("degraded_message") or "it is damaged")
        if reason.endswith(EMPTY_FILE):
            # The feeder stores nothing for an entry that it cannot unpack.
            reason = "its entry is empty or corrupt"
        return f"The image {name!r} of the archive cannot be read: {reason}"
    if result["degraded"]:
        return str(result.get("degraded_message") or result["degraded"])
    if name and not catalog.has_images and catalog.model != "text":
        return f"The image {name!r} was not used, because no ZIP archive was sent"
    return None


class Reasons:
    """Reasons of the rejected rows, read from their file in the order of the rows.

    Args:
        errors: The file of rejected rows.
    """

    def __init__(self, errors: TextIO) -> None:
        self._rows: Iterator[list[str]] = csv.reader(errors)
        next(self._rows, None)
        self._next: list[str] | None = None

    def of(self, number: int) -> str | None:
        """Return the reason for rejecting a row; rows must be asked for in their order."""
        while self._next is None or (self._next and int(self._next[0]) < number):
            self._next = []
            with suppress(StopIteration):
                self._next = next(self._rows)
        if not self._next or int(self._next[0]) != number:
            return None
        return self._next[4]
