"""Archive of all stored files as a tar stream; runs wherever a service runs.

    python -m infra.backup.stored save > storage.tar
    python -m infra.backup.stored save-unfinished > unfinished.tar
    python -m infra.backup.stored restore < storage.tar

Which storage, the settings say (`RAYON_STORAGE_URL`): a folder or a bucket.
"""

import os
import sys
import tarfile
from collections.abc import Iterable, Iterator
from typing import BinaryIO, cast

from shared.db.datasets import UPLOADS
from shared.errors import NotFound
from shared.invalid_settings import run_program
from shared.settings import StorageSettings
from shared.storage import Storage, StoredFile

#: Folder of a catalog's image archive while rows are unfinished (`gateway.catalogs.service`).
CATALOGS, IMAGES = "catalogs", "images.zip"
_USAGE = "Expected `save`, `save-unfinished` or `restore`"


def main() -> int:
    """Write or read an archive and return the exit code."""
    storage = Storage(StorageSettings())
    if sys.argv[1:] == ["save"]:
        save(storage, sys.stdout.buffer)
    elif sys.argv[1:] == ["save-unfinished"]:
        save_unfinished(storage, sys.stdout.buffer)
    elif sys.argv[1:] == ["restore"]:
        restore(storage, sys.stdin.buffer)
    else:
        print(_USAGE, file=sys.stderr)  # noqa: T201
        return 2
    return 0


def save(storage: Storage, out: BinaryIO) -> int:
    """Write all files and return their number. Raises `Unavailable`."""
    return _write(storage, _most_hasty_first(storage), out)


def save_unfinished(storage: Storage, out: BinaryIO) -> int:
    """Write the short-lived files and return their number. Raises `Unavailable`."""
    return _write(storage, unfinished(storage), out)


def unfinished(storage: Storage) -> Iterator[StoredFile]:
    """List short-lived files named by rows: catalogs and datasets in progress.

    Raises:
        Unavailable: The storage does not answer.
    """
    for folder in storage.folders(CATALOGS):
        yield from (file for file in storage.files(folder) if file.uri.endswith(f"/{IMAGES}"))
    for folder in storage.folders(UPLOADS):
        yield from storage.files(folder)


def _most_hasty_first(storage: Storage) -> Iterator[StoredFile]:
    hasty = list(unfinished(storage))
    yield from hasty
    known = {file.uri for file in hasty}
    yield from (file for file in storage.everything() if file.uri not in known)


def _write(storage: Storage, wanted: Iterable[StoredFile], out: BinaryIO) -> int:
    count = 0
    with tarfile.open(fileobj=out, mode="w|") as archive:
        for file in wanted:
            entry = tarfile.TarInfo(file.uri)
            entry.size, entry.mtime = file.size, int(file.modified)
            try:
                with storage.open(file.uri) as content:
                    archive.addfile(entry, content)
            except NotFound:
                # Deleted since it was listed: expired or no longer needed.
                continue
            count += 1
    return count


def restore(storage: Storage, archive: BinaryIO) -> int:
    """Store all files of an archive and return their number. Raises `Unavailable`."""
    count = 0
    with tarfile.open(fileobj=archive, mode="r|") as files:
        for entry in files:
            content = files.extractfile(entry)
            if content is None:
                continue
            storage.put_stream(entry.name, cast(BinaryIO, content))
            path = storage.local(entry.name)
            if path is not None:
                # Keep the modification time, which `gateway.operations.retention` reads.
                os.utime(path, (entry.mtime, entry.mtime))
            count += 1
    return count


if __name__ == "__main__":
    run_program(main)
