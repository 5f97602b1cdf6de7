"""Names of stored datasets, and addresses of their files in the storage.

datasets/<name>/<version>/products.parquet   rows of a ready version
datasets/<name>/<version>/version.json       fingerprint and categories of the version
datasets/<name>/pictures/<ab>/<sha256>       images of all versions, by digest
uploads/<version id>/<file>                  uploaded file, until it is validated
"""

import re

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.db.models import DatasetStatus, DatasetVersion
from shared.errors import InvalidInput

ROWS_FILE = "products.parquet"
VERSION_FILE = "version.json"
#: Folder of uploads that wait for validation.
UPLOADS = "uploads"
#: `name` or `name@version`.
_REFERENCE = re.compile(r"([a-z0-9][a-z0-9._-]{0,63})(?:@(\d{1,9}))?")


def parse(reference: str) -> tuple[str, int | None]:
    """Split `name@version`; the version is `None` if it is missing. Raises `InvalidInput`."""
    match = _REFERENCE.fullmatch(reference)
    if match is None or match[1] == "pictures":
        raise InvalidInput(
            "Expected `name` or `name@version`, with a name of lower-case letters, digits, `.`, "
            f"`_` and `-`. Received: {reference!r}",
            field=("dataset",),
        )
    return match[1], int(match[2]) if match[2] else None


def folder_of(name: str) -> str:
    """Return the address of a dataset's folder."""
    return f"datasets/{name}"


def version_folder(name: str, version: int) -> str:
    """Return the address of a version's folder."""
    return f"{folder_of(name)}/{version}"


def images_folder(name: str) -> str:
    """Return the address of a dataset's image folder."""
    return f"{folder_of(name)}/pictures"


def upload_folder(version_id: str) -> str:
    """Return the address of the uploads of a version."""
    return f"{UPLOADS}/{version_id}"


def resolve(session: Session, reference: str) -> DatasetVersion:
    """Return the ready version of a reference; the newest one if the reference has no version.

    The row stays locked until the transaction ends, so the dataset cannot be deleted before that.

    Raises:
        InvalidInput: There is no such version, or it is not ready.
    """
    name, version = parse(reference)
    query = select(DatasetVersion).where(
        DatasetVersion.name == name, DatasetVersion.status == DatasetStatus.READY.value
    )
    if version is not None:
        query = query.where(DatasetVersion.version == version)
    newest = query.order_by(DatasetVersion.version.desc()).limit(1).with_for_update()
    found = session.scalar(newest)
    if found is None:
        raise InvalidInput(f"Expected a ready dataset. Received: {reference!r}", field=("dataset",))
    return found
