"""Drafts: check an upload again with other columns, start it, or give it up.

A draft is a dry run that keeps its files for a while after its check. Its status is that of any
catalog; `kept_until` tells it from others. Starting it turns it into a running catalog.
"""

from collections.abc import Callable, Mapping
from typing import Any

import structlog
from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from gateway.catalogs.admission import require_room
from gateway.catalogs.products import Columns
from gateway.catalogs.service import SAMPLE, Catalogs, find, folder_of, kept_until
from gateway.identity.principal import Principal
from shared.db.models import Catalog, CatalogStatus, now
from shared.db.session import UnitOfWork
from shared.errors import Conflict, NotFound
from shared.storage import Storage

log = structlog.get_logger(__name__)

#: Statuses of a draft whose check has ended.
CHECKED = (CatalogStatus.FINISHED.value, CatalogStatus.FAILED.value)


def sample(storage: Storage, catalog: Catalog) -> bytes:
    """Return the stored sample of a catalog.

    Raises:
        NotFound: It has none: it is no draft, or its check has not read the table yet.
        Unavailable: The storage does not answer.
    """
    try:
        return storage.get(f"{folder_of(catalog.id)}/{SAMPLE}")
    except NotFound as error:
        raise NotFound(
            "Expected a draft whose table has been read. Received: a catalog without a sample"
        ) from error


def recalled_columns(unit_of_work: UnitOfWork, user_id: str, header: str) -> Columns:
    """Return the columns that a user stated for the newest table with a header; empty if none."""
    newest = (
        select(Catalog.report)
        .where(Catalog.user_id == user_id, Catalog.header == header)
        .order_by(Catalog.id.desc())
        .limit(1)
    )
    with unit_of_work.reading() as session:
        report: Mapping[str, Any] = session.scalar(newest) or {}
    found: Columns = report.get("given", {})
    return found


def check_again(
    catalogs: Catalogs, principal: Principal, catalog_id: str, columns: Columns
) -> None:
    """Check a draft with other columns.

    Args:
        catalogs: The catalogs and their files.
        principal: The owner, or an admin.
        catalog_id: The draft.
        columns: Column of each field; fields that are left out are guessed.

    Raises:
        NotFound: The user has no such catalog.
        Conflict: The catalog is no draft, or its files are no longer kept.
        Limited: The user has too many unfinished catalogs.
    """
    with catalogs.unit_of_work() as work:
        catalog = _kept_draft(work.session, principal, catalog_id)
        require_room(work.session, catalogs.settings, catalog.user_id, catalog.size)
        kept = {
            name: catalog.report[name] for name in ("archive", "release") if name in catalog.report
        }
        values: dict[str, Any] = {
            "status": CatalogStatus.VALIDATING.value,
            "report": {**kept, "given": dict(columns)},
            "kept_until": kept_until(catalogs.settings),
            "header": None,
            **dict.fromkeys(("started_at", "finished_at", "error_code", "error_message")),
        }
        _change(work.session, catalog, *CHECKED, values=values)
        work.announce_unfed(catalog_id)
    log.info("draft_checked_again", catalog=catalog_id)


def start(
    catalogs: Catalogs, principal: Principal, catalog_id: str, resolve: Callable[[str], str]
) -> None:
    """Classify the rows of a draft whose check has finished; one that was started stays as it is.

    Args:
        catalogs: The catalogs and their files.
        principal: The owner, or an admin.
        catalog_id: The draft.
        resolve: Returns the version that an alias of a release stands for now.

    Raises:
        NotFound: The user has no such catalog, or its release is gone.
        Conflict: The catalog is no draft, its check found no row to classify or has not finished,
            or its files are no longer kept.
        Limited: The user has too many unfinished catalogs.
    """
    with catalogs.unit_of_work.reading() as session:
        catalog = find(session, principal, catalog_id)
        if not catalog.dry_run:
            return
        catalog = _kept_draft(session, principal, catalog_id)
        _require_rows(catalog)
        require_room(session, catalogs.settings, catalog.user_id, catalog.size)
    # The champion may have changed since the upload; the check does not depend on it.
    version = resolve(catalog.report.get("release", catalog.release))
    values = {
        "status": CatalogStatus.RUNNING.value,
        "dry_run": False,
        "release": version,
        "started_at": now(),
        "finished_at": None,
        "kept_until": None,
    }
    with catalogs.unit_of_work() as work:
        # Another request may have started it since it was read.
        newest = work.session.get(Catalog, catalog_id, with_for_update=True)
        if newest is None or not newest.dry_run:
            return
        _change(work.session, catalog, CatalogStatus.FINISHED.value, values=values)
        work.announce_unfed(catalog_id)
    log.info("draft_started", catalog=catalog_id, release=version)


def give_up(session: Session, catalog_id: str) -> None:
    """Stop keeping the files of a draft, so that they no longer count against the quota."""
    session.execute(
        update(Catalog)
        .where(Catalog.id == catalog_id, Catalog.status.in_(CHECKED))
        .values(kept_until=None)
        .execution_options(synchronize_session=False)
    )


def expired_drafts() -> ColumnElement[bool]:
    """Return the condition that selects drafts that have expired."""
    return Catalog.status.in_(CHECKED) & (Catalog.kept_until < now())


def _kept_draft(session: Session, principal: Principal, catalog_id: str) -> Catalog:
    catalog = find(session, principal, catalog_id)
    if not catalog.dry_run:
        raise Conflict("Expected a draft. Received: a catalog that was started")
    if catalog.status == CatalogStatus.VALIDATING.value:
        raise Conflict(
            "Expected a draft whose check has ended. Received: one that is being checked"
        )
    if catalog.kept_until is None or catalog.kept_until < now():
        raise Conflict(
            "Expected a draft whose files are kept. Received: a dry run whose files are not kept. "
            "Send it as a new catalog"
        )
    return catalog


def _require_rows(catalog: Catalog) -> None:
    if catalog.status != CatalogStatus.FINISHED.value:
        raise Conflict(
            f"Expected a draft whose check has finished. Received: one that is {catalog.status}"
        )
    if catalog.rejected >= catalog.rows:
        raise Conflict("Expected a row that can be classified. Received: only rejected rows")


def _change(session: Session, catalog: Catalog, *statuses: str, values: dict[str, Any]) -> None:
    """Change a draft unless another request has changed it. Raises `Conflict`."""
    same_check = Catalog.kept_until == catalog.kept_until
    changed = session.execute(
        update(Catalog)
        .where(Catalog.id == catalog.id, Catalog.status.in_(statuses), same_check)
        .values(**values)
        .returning(Catalog.id)
        .execution_options(synchronize_session=False)
    ).all()
    if not changed:
        raise Conflict("The draft was changed by another request")
