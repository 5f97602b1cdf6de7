"""The free disk space that an upload needs, checked before its body is read."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from shared.errors import Unavailable
from shared.files import FULL_WAIT_SECONDS
from shared.storage import Storage

#: Share of the temporary folder's disk that stays free at least, if the disk is small: 10 %.
SMALL_DISK_DIVISOR = 10


@dataclass(frozen=True)
class DiskSpace:
    """Checks the disks that an upload is written to: the temporary folder, then the storage."""

    storage: Storage

    def require(self, size: int) -> None:
        """Check that an upload of some bytes leaves enough free space.

        Raises:
            Unavailable: It would leave less than `RAYON_STORAGE_MIN_FREE_BYTES` on the disk of the
                storage or of the temporary folder; on a small temporary disk, than a tenth of it.
        """
        folder = Path(tempfile.gettempdir())
        # While it is stored, an upload takes its size twice if both are on one disk.
        self.storage.require_room(2 * size if self._is_on_disk_of(folder) else size)
        disk = shutil.disk_usage(folder)
        kept = min(self.storage.min_free_bytes, disk.total // SMALL_DISK_DIVISOR)
        if disk.free - size < kept:
            raise Unavailable(
                "The disk has too little free space for uploads. Expected "
                f"{kept} bytes to stay free. Received: {size} bytes, which would leave less",
                retry_after_seconds=FULL_WAIT_SECONDS,
            )

    def _is_on_disk_of(self, folder: Path) -> bool:
        root = self.storage.local("")
        return root is not None and root.exists() and root.stat().st_dev == folder.stat().st_dev
