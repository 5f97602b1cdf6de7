"""Files that are replaced as a whole, and disks that are full."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: `Retry-After` while a disk is full or almost full.
FULL_WAIT_SECONDS = 60


def is_disk_full(error: BaseException) -> bool:
    """Return True for an error of a disk without room, or of a used-up quota."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def atomic_write(
    path: Path, *, mode: int | None = None, is_durable: bool = False
) -> Iterator[Path]:
    """Yield a temporary path in the same folder; rename it to `path` when the block ends.

    Readers find the former file or the complete new one, never a partial one, and a block that
    fails leaves no file. The temporary name keeps the suffix, because NumPy appends a missing one.

    Args:
        path: The file to replace or create; its folder exists.
        mode: Permissions. Until the file is complete, only its owner can open it. Without a mode,
            the permissions follow from the umask.
        is_durable: Write the content to the disk before the rename, so that a power failure cannot
            leave an empty file under the final name.
    """
    temporary = path.with_name(f".{path.name}")
    # A killed process may have left a temporary file.
    temporary.unlink(missing_ok=True)
    try:
        if mode is not None:
            # Created with these permissions instead of changed later, so that other users can
            # never open it.
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        yield temporary
        if mode is not None:
            temporary.chmod(mode)
        if is_durable:
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
