"""Deletion of thumbnails: with their image, when they are old, and when there are too many.

A thumbnail that is missing is made again when somebody looks at it.
"""

from datetime import datetime, timedelta
from threading import Event

from shared.contracts import THUMBNAIL_PIXELS, thumbnail_uri
from shared.db.models import now
from shared.skipping import Removals
from shared.storage import Storage, StoredFile

#: Folder of the thumbnails.
THUMBNAILS = "thumbnails"
#: Age at which a thumbnail is deleted.
KEPT = timedelta(days=30)
#: Most bytes of all thumbnails; beyond it the oldest are deleted. About 100,000 small ones.
MOST_BYTES = 512 * 2**20


def remove_image(storage: Storage, uri: str, before: datetime) -> bool:
    """Remove an image that was last stored before a time, with its thumbnails.

    Returns:
        True if it was removed.

    Raises:
        Unavailable: The storage does not answer.
    """
    if not storage.remove_older(uri, before):
        return False
    for pixels in THUMBNAIL_PIXELS:
        storage.remove(thumbnail_uri(uri, pixels))
    return True


def clean_thumbnails(storage: Storage, images: str, removals: Removals, stopping: Event) -> int:
    """Delete thumbnails that are old, too many, or whose image is gone; return their number.

    Args:
        storage: Where the files are.
        images: Folder of the images, whose subfolders have the names of those of the thumbnails.
        removals: Skips files that cannot be deleted.
        stopping: Ends the deletion after the current file.

    Raises:
        Unavailable: The storage does not answer.
    """
    kept: list[StoredFile] = []
    unneeded: list[StoredFile] = []
    for folder in storage.folders(THUMBNAILS):
        names = {_name(file.uri) for file in storage.files(f"{images}/{folder.rpartition('/')[2]}")}
        for file in storage.files(folder):
            is_needed = _name(file.uri).rpartition("-")[0] in names
            (kept if is_needed else unneeded).append(file)
    count = 0
    for file in [*unneeded, *_over_limits(kept)]:
        if stopping.is_set():
            break
        with removals.skipping(file.uri):
            storage.remove(file.uri)
            count += 1
    return count


def _over_limits(files: list[StoredFile]) -> list[StoredFile]:
    """Return the files that are too old, and the oldest ones beyond `MOST_BYTES`."""
    before, total, found = (now() - KEPT).timestamp(), 0, []
    for file in sorted(files, key=lambda file: file.modified, reverse=True):
        total += file.size
        if file.modified < before or total > MOST_BYTES:
            found.append(file)
    return found


def _name(uri: str) -> str:
    return uri.rpartition("/")[2]
