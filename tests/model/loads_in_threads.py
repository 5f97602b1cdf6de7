"""Load broken releases and new ones, each in a thread of its own, and print the memory in MiB.

    python -m tests.model.loads_in_threads FOLDER

Printed are the memory after the first load, after many failed loads, and after many loads whose
releases were dropped again, and the number of failed loads. A thread of its own is what a message
gets in a worker.
"""

import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Thread

from infra.embedded.settings import PROJECT
from shared.contracts import Modality
from shared.errors import ReleaseUnloadable
from shared.inference.manifest import ReleaseManifest
from shared.inference.serving import pool as pools
from shared.inference.serving.pool import ModelPool
from shared.memory import keep_little_memory
from worker_text.scorer import TextScorer

STARTER = PROJECT / "infra" / "starter_release"
LOADS = 12
#: Name of the model's output; without it a model is loaded and cannot be used.
OUTPUT = b"probabilities"


class Folders:
    """A registry of folders without a champion."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def champion(self) -> str | None:
        """Return `None`."""
        return None

    def folder(self, version: str) -> Path:
        """Return the folder of a version."""
        return self._root / version

    def manifest(self, version: str) -> ReleaseManifest:
        """Return the manifest of a version."""
        return ReleaseManifest.read(self.folder(version))


def main(folder: Path) -> None:
    """Print the three numbers, and how many loads failed."""
    keep_little_memory()
    for number in range(1, 2 * LOADS + 2):
        shutil.copytree(STARTER, folder / str(number), copy_function=_link)
    for number in range(2, LOADS + 2):
        _break(folder / str(number) / "text" / "model.onnx")
    pool: ModelPool[str] = ModelPool(
        Folders(folder),
        lambda folder, manifest: TextScorer(folder, manifest, threads=1),
        modality=Modality.TEXT,
        max_batch=8,
        max_wait_seconds=0.0,
    )
    pools.UNUSED_SECONDS = -1.0
    _in_threads([partial(_score, pool, 1)])
    first = _mebibytes()
    _in_threads([partial(_score, pool, number) for number in range(2, LOADS + 2)])
    failed = _mebibytes()
    for number in range(LOADS + 2, 2 * LOADS + 2):
        _in_threads([partial(_score, pool, number)])
        pool._drop_unused()
    print(first, failed, _mebibytes(), len(pool.loads.reasons()))


def _score(pool: ModelPool[str], number: int) -> None:
    with suppress(ReleaseUnloadable):
        pool.score(str(number), ["piscine gonflable"])


def _in_threads(acts: list[Callable[[], None]]) -> None:
    # All threads live at once, so that each has an arena of its own.
    threads = [Thread(target=act) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)


def _break(model: Path) -> None:
    content = model.read_bytes().replace(OUTPUT, OUTPUT[::-1])
    model.unlink()
    model.write_bytes(content)


def _mebibytes() -> int:
    status = Path("/proc/self/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("RssAnon")]
    return int(line.split()[1]) // 1024


if __name__ == "__main__":
    main(Path(sys.argv[1]))
