"""The bytes that a user has in the storage."""

from typing import Any

from sqlalchemy import Select, case, exists, func, or_, select
from sqlalchemy.orm import Session

from shared.db.models import (
    Catalog,
    CatalogRowRepair,
    CatalogStatus,
    DatasetVersion,
    Job,
    User,
)

#: The archive of a final catalog is removed, unless it is a draft.
_HAS_ARCHIVE = or_(
    Catalog.status.in_((CatalogStatus.VALIDATING.value, CatalogStatus.RUNNING.value)),
    Catalog.kept_until.is_not(None),
)


def stored_bytes(session: Session, user_id: str) -> int:
    """Return the bytes of a user's images, catalogs and datasets.

    An image that a user sent many times is stored and counted once. One that several users sent is
    stored once too, but counted for each of them.
    """
    queries = (
        _of_images(user_id),
        _of_repairs(user_id),
        _of_catalogs(user_id),
        _of_datasets(user_id),
    )
    return sum(int(session.scalar(query) or 0) for query in queries)


def _of_images(user_id: str) -> Select[Any]:
    images = (
        select(func.max(Job.image_bytes).label("size"))
        .where(Job.user_id == user_id, Job.image_bytes.is_not(None))
        .group_by(Job.image_uri)
        .subquery()
    )
    return select(func.sum(images.c.size))


def _of_repairs(user_id: str) -> Select[Any]:
    """Sum the images that were added to rows, or kept for them, and that no job has yet."""
    image_uri = CatalogRowRepair.image_uri
    images = (
        select(func.max(CatalogRowRepair.image_bytes).label("size"))
        .join(Catalog, Catalog.id == CatalogRowRepair.catalog_id)
        .where(Catalog.user_id == user_id, image_uri.is_not(None))
        .where(
            ~exists().where(
                Job.user_id == user_id,
                Job.image_uri == image_uri,
                # Read the index of images, not all jobs of the user.
                Job.image_bytes.is_not(None),
            )
        )
        .group_by(image_uri)
        .subquery()
    )
    return select(func.sum(images.c.size))


def _of_catalogs(user_id: str) -> Select[Any]:
    table = Catalog.size - func.coalesce(Catalog.archive_bytes, 0)
    size = case((_HAS_ARCHIVE, Catalog.size), else_=table)
    return select(func.sum(size)).where(Catalog.user_id == user_id)


def _of_datasets(user_id: str) -> Select[Any]:
    name = select(User.username).where(User.id == user_id).scalar_subquery()
    return select(func.sum(DatasetVersion.size)).where(DatasetVersion.created_by == name)
