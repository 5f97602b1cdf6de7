"""A finished catalog whose rows have answers, as fusion writes them."""

from collections.abc import Iterable
from typing import Any

from shared.db.models import Catalog, Job, JobStatus, User, now, row_job_id
from tests.support.factories import make_catalog, make_job

NAMES = {10: "Livres", 2583: "Piscine et accessoires"}


def answered_row(catalog: Catalog, user: User, row: int, **changes: Any) -> Job:
    """Return the job of a row, answered as `prdtypecode` with `confidence`.

    Args:
        catalog: The catalog.
        user: Its owner.
        row: Number of the row, from 1.
        **changes: Columns of the job; `degraded` goes into the result.
    """
    code = changes.pop("prdtypecode", 2583)
    confidence = changes.pop("confidence", 0.9)
    degraded = changes.pop("degraded", None)
    result = {
        "category": NAMES[code],
        "category_path": [],
        "top": [{"prdtypecode": code, "category": NAMES[code], "probability": confidence}],
        "modalities": {"text": {"prdtypecode": code, "confidence": confidence}},
        "degraded": degraded,
        "degraded_message": degraded and "The image cannot be read",
    }
    if "is_foreign" in changes:
        result |= {"novelty": float(changes["is_foreign"]), "is_foreign": changes["is_foreign"]}
    fields: dict[str, Any] = {
        "id": row_job_id(catalog.id, row),
        "catalog_id": catalog.id,
        "lane": "catalog",
        "status": JobStatus.DONE.value,
        "finished_at": now(),
        "prdtypecode": code,
        "confidence": confidence,
        "result": result,
    }
    return make_job(user, **{**fields, **changes})


def failed_row(catalog: Catalog, user: User, row: int, **changes: Any) -> Job:
    """Return the job of a row that failed."""
    fields: dict[str, Any] = {
        "status": JobStatus.FAILED.value,
        "prdtypecode": 10,
        "error_code": "image_unreadable",
        "error_message": "The image cannot be read",
    }
    job = answered_row(catalog, user, row, **{**fields, **changes})
    job.prdtypecode = job.confidence = job.result = None
    return job


def answered_catalog(user: User, given: Iterable[dict[str, Any]], **changes: Any) -> list[Any]:
    """Return a catalog and the jobs of its rows, to be added.

    Args:
        user: The owner.
        given: Changes of each row.
        **changes: Columns of the catalog.
    """
    rows = list(given)
    count = len(rows)
    catalog = make_catalog(user, **{"rows": count, "fed": count, "fed_until": count, **changes})
    return [
        catalog,
        *(answered_row(catalog, user, row, **one) for row, one in enumerate(rows, start=1)),
    ]
