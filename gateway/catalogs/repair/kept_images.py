"""Keep the images of rejected rows: the archive is deleted once the catalog is final."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from gateway.catalogs.image_archive import Archive
from gateway.catalogs.row_check import Checked
from gateway.catalogs.slices import Images, stored_image
from shared.db.models import Catalog, CatalogRowRepair, RepairStatus, now


def kept_images(
    catalog: Catalog, checked: Sequence[Checked], archive: Archive | None, images: Images
) -> list[dict[str, Any]]:
    """Store the images of the rejected rows, and return repairs of these rows without changes.

    Raises:
        Unavailable: The storage is full or does not answer.
    """
    if archive is None or catalog.model == "text":
        return []
    return [
        {
            "catalog_id": catalog.id,
            "row": found.row.number,
            "status": RepairStatus.DRAFT.value,
            "version": 0,
            "changed_at": now(),
            "code": found.problem.code,
            "cells": {},
            "joined_cells": {},
            "designation": found.row.get("designation"),
            "description": found.row.get("description"),
            "image_name": found.name,
            "image_uri": stored_image(found.image, archive, images),
            "image_bytes": found.image.file_size,
            "uses_image": True,
            "lacks_image": False,
            "is_ready": False,
            "is_joined": False,
            "problem": asdict(found.problem),
        }
        for found in checked
        if found.problem is not None and found.image is not None
    ]


def add_kept(session: Session, catalog_id: str, kept: Sequence[dict[str, Any]]) -> None:
    """Insert repairs of rows that have none; a resumed catalog reaches its rows again."""
    if not kept:
        return
    query = select(CatalogRowRepair.row).where(
        CatalogRowRepair.catalog_id == catalog_id,
        CatalogRowRepair.row.in_([one["row"] for one in kept]),
    )
    known = set(session.scalars(query))
    if new := [one for one in kept if one["row"] not in known]:
        session.execute(insert(CatalogRowRepair), new)
