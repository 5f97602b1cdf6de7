"""Names of stored datasets, and where their files are in the storage.

datasets/<name>/<version>/products.parquet   the rows of a version that is ready
datasets/<name>/<version>/version.json       its fingerprint and its categories
datasets/<name>/pictures/<ab>/<sha256>       images of all versions, by content
uploads/<version id>/<file>                  what was sent, until it is checked
"""

import re

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.db.models import DatasetStatus, DatasetVersion
from shared.errors import InvalidInput

ROWS_FILE = "products.parquet"
VERSION_FILE = "version.json"
#: Folder of what waits to be checked.
UPLOADS = "uploads"
#: `name` or `name@version`.
_REFERENCE = re.compile(r"([a-z0-9][a-z0-9._-]{0,63})(?:@(\d{1,9}))?")


def parse(reference: str) -> tuple[str, int | None]:
    """Split `name@version`; `None` where no version is named. Raises `InvalidInput`."""
    match = _REFERENCE.fullmatch(reference)
    if match is None or match[1] == "pictures":
        raise InvalidInput(
            "Expected `name` or `name@version`, the name of small letters, digits, `.`, `_` and "
            f"`-`. Received: {reference!r}",
            field=("dataset",),
        )
    return match[1], int(match[2]) if match[2] else None


def folder_of(name: str) -> str:
    """Address of a dataset's folder."""
    return f"datasets/{name}"


def version_folder(name: str, version: int) -> str:
    """Address of a version's folder."""
    return f"{folder_of(name)}/{version}"


def images_folder(name: str) -> str:
    """Address of the folder of a dataset's images."""
    return f"{folder_of(name)}/pictures"


def upload_folder(version_id: str) -> str:
    """Address of what was sent for a version."""
    return f"{UPLOADS}/{version_id}"


def resolve(session: Session, reference: str) -> DatasetVersion:
    """Find the version that a reference means: the newest one that is ready if it names none.

    The row stays locked until the transaction ends, so that the dataset is not deleted meanwhile.

    Raises:
        InvalidInput: There is none, or it is not ready.
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
        raise InvalidInput(f"No dataset {reference!r} that is ready", field=("dataset",))
    return found
