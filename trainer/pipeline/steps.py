"""Training steps whose results are kept by content, so that nothing is computed twice.

A step's folder is named by a hash of everything that decides its result: its parameters, the keys
of the steps that it reads, the source of its code and of all modules that the code imports, and
the versions of the libraries. joblib's `Memory` hashes one function and pickles what it returns;
steps here depend on modules and on each other, and produce files of many megabytes.
"""

import errno
import hashlib
import importlib.metadata
import json
import os
import resource
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shared.errors import RayonError
from trainer.pipeline.source_closure import SourceClosure

#: Written last; a folder without it is not finished.
MARKER = "step.json"
#: Libraries whose version may change a result.
LIBRARIES = (
    "keras",
    "keras-hub",
    "numpy",
    "onnx",
    "onnxruntime",
    "scikit-learn",
    "tensorflow",
    "tf2onnx",
    "tokenizers",
)
KEEP_SECONDS = 30 * 24 * 3600.0
HASH_DIGITS = 16


class StepFailed(RayonError):
    """A step could not keep its result; the message names the step and the reason."""

    title = "Step failed"


@dataclass(frozen=True)
class Step:
    """A finished step and where its result lies.

    Attributes:
        key: Hash of everything that decided the result; part of the keys of later steps.
        seconds: Duration of the computation.
        peak_megabytes: Largest resident memory of the process until the step ended.
        is_reused: True if an earlier run computed the result.
    """

    name: str
    key: str
    folder: Path
    seconds: float
    peak_megabytes: float
    is_reused: bool


class Steps:
    """The steps of one training run.

    Args:
        work: Folder of kept results, under `steps/`.
        total: Expected number of steps, for the progress.
        progress: File that gets a JSON line whenever a step begins or ends; others may read it.
    """

    def __init__(self, work: Path, *, total: int, progress: Path | None = None) -> None:
        # Results are read later, also by processes in other folders.
        self._folder = work.absolute() / "steps"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._progress = progress
        self._total = total
        self._sources = SourceClosure()
        self.finished: list[Step] = []

    def run(
        self,
        name: str,
        produce: Callable[[Path], None],
        *,
        key: Mapping[str, Any],
        code: Sequence[object],
        after: Sequence[Step] = (),
    ) -> Step:
        """Return the kept result of a step, or compute it.

        A step that was interrupted gets the folder it had begun and may continue from there; the
        files in it were written by the same code for the same data.

        Args:
            name: Shown to people, and part of the folder's name.
            produce: Called with the folder to fill.
            key: All parameters that decide the result; must be serialisable as JSON.
            code: Functions, classes or instances that compute the result. The source of their
                modules, and of all modules that those import, is part of the hash.
            after: Steps whose results are read.

        Raises:
            StepFailed: The disk is full, or the folder cannot be written.
        """
        self._write_progress(name)
        content = {
            "name": name,
            "key": key,
            "after": [step.key for step in after],
            "code": self._sources.hashes(code),
            "libraries": _versions(),
        }
        digest = hashlib.sha256(
            json.dumps(content, sort_keys=True, default=str).encode()
        ).hexdigest()
        slug = name.replace(" ", "-")
        folder = self._folder / f"{slug}-{digest[:HASH_DIGITS]}"
        if (folder / MARKER).exists():
            os.utime(folder / MARKER)
            step = _read(folder)
        else:
            step = self._compute(name, digest, folder, content, produce)
        self.finished.append(step)
        self._write_progress(name)
        return step

    def prune(self) -> None:
        """Remove results that no run has used for a month."""
        used = {step.folder for step in self.finished}
        for folder in self._folder.iterdir():
            last = folder / MARKER if (folder / MARKER).exists() else folder
            if folder not in used and time.time() - last.stat().st_mtime > KEEP_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)

    def table(self) -> str:
        """Return the steps of this run as a Markdown table."""
        lines = ["| step | seconds | peak MB | |", "|---|---:|---:|---|"]
        lines += [
            f"| {step.name} | {step.seconds:.1f} | {step.peak_megabytes:.0f} "
            f"| {'reused' if step.is_reused else ''} |"
            for step in self.finished
        ]
        return "\n".join(lines)

    def _compute(
        self,
        name: str,
        digest: str,
        folder: Path,
        content: Mapping[str, Any],
        produce: Callable[[Path], None],
    ) -> Step:
        unfinished = folder.with_name(f"{folder.name}.part")
        started = time.monotonic()
        try:
            unfinished.mkdir(exist_ok=True)
            produce(unfinished)
            seconds = time.monotonic() - started
            record = {
                **content,
                "digest": digest,
                "seconds": seconds,
                "peak_megabytes": _peak_megabytes(),
                "finished_at": datetime.now(UTC).isoformat(),
            }
            (unfinished / MARKER).write_text(json.dumps(record, indent=1, default=str), "utf-8")
            unfinished.rename(folder)
        except OSError as error:
            raise StepFailed(_explained(name, unfinished, error)) from error
        return Step(name, digest, folder, seconds, record["peak_megabytes"], is_reused=False)

    def _write_progress(self, name: str) -> None:
        if self._progress is None:
            return
        line = {
            "step": name,
            "done": len(self.finished),
            "of": max(self._total, len(self.finished)),
            "at": datetime.now(UTC).isoformat(),
        }
        with self._progress.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def parameters(settings: Any) -> dict[str, Any]:
    """Return a settings dataclass as plain JSON values, for a step's key and for the log."""
    return dict(json.loads(json.dumps(asdict(settings), default=lambda one: one.model_dump())))


def _read(folder: Path) -> Step:
    record = json.loads((folder / MARKER).read_text("utf-8"))
    return Step(
        record["name"],
        record["digest"],
        folder,
        record["seconds"],
        record["peak_megabytes"],
        is_reused=True,
    )


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        for distribution in (name, f"{name}-cpu"):
            try:
                found[name] = importlib.metadata.version(distribution)
            except importlib.metadata.PackageNotFoundError:
                continue
    return found


def _peak_megabytes() -> float:
    # Linux reports kilobytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _explained(name: str, folder: Path, error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        free = shutil.disk_usage(folder.parent).free // 2**20
        return (
            f"The disk is full in the step {name!r}: {free} MB are free in {folder.parent}. "
            "Finished steps are kept; free some space and start again"
        )
    return f"The step {name!r} could not keep its result: {error}"
