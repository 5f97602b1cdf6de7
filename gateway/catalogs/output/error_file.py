"""The rejected rows as a CSV file, without those that were repaired and run."""

import csv
import io
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

from sqlalchemy import ColumnElement, or_, select

from gateway.catalogs.service import ERRORS, folder_of
from shared.db.models import Catalog, CatalogRowRepair, RepairStatus
from shared.db.session import UnitOfWork
from shared.errors import Conflict, NotFound
from shared.storage import PIECE_BYTES, Storage


def error_pieces(unit_of_work: UnitOfWork, storage: Storage, catalog: Catalog) -> Iterator[bytes]:
    """Return the file of rejected rows in pieces.

    Raises:
        Conflict: The catalog has no such file.
        Unavailable: The database or the storage does not answer.
    """
    left_out = _run(unit_of_work, catalog)
    try:
        file = storage.open(f"{folder_of(catalog.id)}/{ERRORS}")
    except NotFound as error:
        reason = catalog.error_message or "it is still being checked"
        raise Conflict(f"The catalog has no list of rejected rows: {reason}") from error
    if not left_out:
        return iter(partial(file.read, PIECE_BYTES), b"")
    return _without(io.TextIOWrapper(file, encoding="utf-8", newline=""), left_out)


def _run(unit_of_work: UnitOfWork, catalog: Catalog) -> set[str]:
    """Return the numbers of the rejected rows that a run includes or has included."""
    is_run: ColumnElement[bool] = CatalogRowRepair.is_joined.is_(True)
    if catalog.repaired_until is not None:
        is_run = or_(is_run, CatalogRowRepair.status == RepairStatus.QUEUED.value)
    query = select(CatalogRowRepair.row).where(
        CatalogRowRepair.catalog_id == catalog.id, CatalogRowRepair.code != "", is_run
    )
    with unit_of_work.reading() as session:
        return {str(row) for row in session.scalars(query)}


def _without(errors: io.TextIOWrapper, left_out: set[str]) -> Iterator[bytes]:
    with ExitStack() as files:
        files.enter_context(errors)
        piece = io.StringIO(newline="")
        table = csv.writer(piece)
        for row in csv.reader(errors):
            if row[0] not in left_out:
                table.writerow(row)
            if piece.tell() > PIECE_BYTES:
                yield piece.getvalue().encode()
                piece.seek(0)
                piece.truncate()
        yield piece.getvalue().encode()
