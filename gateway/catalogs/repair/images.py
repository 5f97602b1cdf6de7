"""Add missing images to rows by their names: to rejected rows, and to rows answered without one."""

import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import BinaryIO
from zipfile import ZipInfo

from sqlalchemy.orm import Session

from gateway.catalogs.image_archive import Archive
from gateway.catalogs.products import image_name, product_rows
from gateway.catalogs.repair.changed_rows import changed
from gateway.catalogs.repair.drafts import apply, batches, check, count_ready, found_of, lock
from gateway.catalogs.repair.items import Found, degraded_code, is_running
from gateway.catalogs.repair.opened import Opened, Repairs, require_repairable
from gateway.catalogs.repair.rejected_rows import RejectedRow
from gateway.catalogs.repair.schemas import AddedImages
from gateway.catalogs.slices import stored_image
from gateway.identity.principal import Principal
from shared.db.models import JobStatus
from shared.errors import Conflict
from shared.storage import PIECE_BYTES
from shared.tables.rows import Row

#: Names that a response lists.
LISTED = 1_000


@dataclass(frozen=True)
class SentFile:
    """An image, or a ZIP archive of images, as it was sent."""

    name: str
    content: BinaryIO


@dataclass
class _Sent:
    """The images of a request, found by what rows call them."""

    archives: list[Archive]
    used: set[tuple[int, int]] = field(default_factory=set)

    def find(self, name: str) -> tuple[Archive, ZipInfo] | None:
        for place, archive in enumerate(self.archives):
            entry = archive.find(name) if name else None
            if isinstance(entry, ZipInfo):
                self.used.add((place, entry.header_offset))
                return archive, entry
        return None


def add(
    repairs: Repairs, principal: Principal, catalog_id: str, sent: Sequence[SentFile]
) -> AddedImages:
    """Give images to the rows that name them and lack them.

    Args:
        repairs: What repairs need of the gateway.
        principal: The owner, or an admin.
        catalog_id: The catalog.
        sent: Images, and ZIP archives of images.

    Raises:
        NotFound: The user has no such catalog.
        Conflict: Its rows cannot be repaired, or its model reads no images.
        InvalidInput: An archive is damaged or too large.
        Unavailable: The database or the storage does not answer.
    """
    with repairs.opened(principal, catalog_id) as opened, ExitStack() as files:
        require_repairable(opened.catalog)
        if opened.catalog.model == "text":
            raise Conflict("The catalog is classified by text only, so it needs no images")
        images = _Sent(_archives(sent, files, repairs.max_image_bytes))
        rows = _add_to(opened, images, ((one.row, one) for one in opened.rejected()))
        rows += _add_to(
            opened, images, ((row, row) for row in product_rows(opened.products, opened.form))
        )
        with repairs.unit_of_work.reading() as session:
            ready = count_ready(session, catalog_id)
        return _summary(images, rows, ready)


def _archives(sent: Sequence[SentFile], files: ExitStack, most: int) -> list[Archive]:
    """Return the archives of a request; single images are packed into one of their own."""
    loose, found = [], []
    for one in sent:
        one.content.seek(0)
        if zipfile.is_zipfile(one.content):
            found.append(Archive(one.content, max_image_bytes=most))
        else:
            loose.append(one)
    if loose:
        packed = tempfile.TemporaryFile()  # noqa: SIM115 - the stack closes it
        files.enter_context(packed)
        with zipfile.ZipFile(packed, "w") as archive:
            for one in loose:
                one.content.seek(0)
                with archive.open(one.name, "w", force_zip64=True) as member:
                    while piece := one.content.read(PIECE_BYTES):
                        member.write(piece)
        found.append(Archive(packed, max_image_bytes=most))
    return found


def _add_to(opened: Opened, images: _Sent, rows: Iterator[tuple[Row, RejectedRow | Row]]) -> int:
    count = 0
    for some in batches(rows):
        base = {row.number: one for row, one in some}
        with opened.repairs.unit_of_work.reading() as session:
            found = _lacking(opened, session, base)
        if wanted := {row: one for row, one in found.items() if images.find(_name(opened, one))}:
            count += _attach(opened, images, {row: base[row] for row in wanted})
    return count


def _lacking(
    opened: Opened, session: Session, base: dict[int, RejectedRow | Row]
) -> dict[int, Found]:
    """Return the rows that name an image, have none, and can be changed now."""
    found = found_of(opened, session, base)
    return {number: one for number, one in found.items() if _lacks(opened, one)}


def _lacks(opened: Opened, found: Found) -> bool:
    if is_running(opened.catalog, found) or not _name(opened, found):
        return False
    if found.repair is not None and found.repair.uses_image:
        return False
    if found.job is None:
        return found.problem is not None or found.repair is not None
    has_failed = found.job.status == JobStatus.FAILED.value
    is_of_image = (found.job.error_code or "").startswith("image")
    return bool(degraded_code(opened.catalog, found)) or (has_failed and is_of_image)


def _name(opened: Opened, found: Found) -> str:
    cells = found.repair.cells if found.repair else {}
    return image_name(changed(found.row, opened.form, cells))


def _attach(opened: Opened, images: _Sent, base: dict[int, RejectedRow | Row]) -> int:
    stored = {}
    with opened.repairs.unit_of_work.reading() as session:
        for number, one in _lacking(opened, session, base).items():
            if there := images.find(_name(opened, one)):
                archive, entry = there
                uri = stored_image(entry, archive, opened.repairs.storage)
                stored[number] = uri, entry.file_size
    count = 0
    with opened.repairs.unit_of_work() as work:
        lock(work.session, opened.catalog.id)
        for number, one in _lacking(opened, work.session, base).items():
            if number not in stored:
                continue
            repair = apply(opened, work.session, one, one.repair.cells if one.repair else {})
            repair.image_name = _name(opened, one)
            repair.image_uri, repair.image_bytes = stored[number]
            check(opened, one, repair)
            count += 1
    return count


def _summary(images: _Sent, rows: int, ready: int) -> AddedImages:
    unused = [name for archive in images.archives for name in archive.unused()]
    refused = [
        f"{one.name}: {one.reason}" for archive in images.archives for one in archive.refused()
    ]
    return AddedImages(
        rows=rows,
        images=len(images.used),
        unused=unused[:LISTED],
        refused=refused[:LISTED],
        ready=ready,
    )
