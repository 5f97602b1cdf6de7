"""One try at one training run: train, register, compare, decide."""

import errno
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import structlog

from shared.db.models import now
from shared.errors import NotFound, Unavailable
from trainer.runs.child_process import Workbench
from trainer.runs.delivery import RESULT_FILE, Delivery, Trained, TrainingFailed
from trainer.runs.lease_keeper import Heart
from trainer.runs.leases import Claim, Leases
from trainer.settings import TrainerSettings

log = structlog.get_logger(__name__)

Found = TypeVar("Found")

KEPT = "Finished steps are kept, so a new run on the same data repeats none of them"
#: How a full disk shows itself: by the system's words, and by SQLite's.
FULL_DISK = (os.strerror(errno.ENOSPC), "disk is full")


class Killed(Exception):
    """A signal from outside ended the training, as the kernel does when memory runs out."""


@dataclass(frozen=True)
class Commands:
    """What is run in child processes."""

    train: Sequence[str] = (sys.executable, "-m", "trainer", "train")
    contest: Sequence[str] = (sys.executable, "-m", "trainer.release.comparison")


class Attempt:
    """Leads one claimed run to its end. What an earlier attempt has done is not done again.

    Args:
        claim: The run.
        leases: Where its row is kept.
        delivery: Brings the release to the registry.
        commands: What is run in child processes.
        stopping: Set when the service ends.
        beat_seconds: Between two renewals of the lease.
    """

    def __init__(
        self,
        claim: Claim,
        leases: Leases,
        delivery: Delivery,
        commands: Commands,
        stopping: threading.Event,
        beat_seconds: float,
    ) -> None:
        self._claim = claim
        self._leases = leases
        self._delivery = delivery
        self._commands = commands
        self._settings = delivery.settings
        self._folder = self._settings.work_folder / "runs" / claim.run_id
        self._out = self._folder / "release"
        self._bench = Workbench(self._settings.work_folder, self._settings.stop_grace_seconds)
        self._heart = Heart(leases, claim, stopping, self._report, beat_seconds)

    def run(self) -> str:
        """Come to a decision; returns it, for a person.

        Raises:
            TrainingFailed: There is none; the message says why.
            Killed: The training was killed, and may go on.
            Cancelled, Stopped, LeaseLost: It was interrupted.
        """
        with self._heart:
            version = self._claim.version or self._train_and_register()
            try:
                return self._deliver(version)
            except Unavailable as error:
                raise TrainingFailed(
                    f"Trained and registered as release {version}, but nobody decided about it: "
                    f"{error.detail}. An admin may: POST /v1/releases/{version}/promote"
                ) from error

    def _train_and_register(self) -> str:
        trained = Trained.read(self._folder) or self._train()
        self._tell("register")
        try:
            version = self._patiently(
                lambda: self._delivery.register(self._claim, self._out, trained)
            )
        except Unavailable as error:
            raise TrainingFailed(
                f"Trained, but not registered: {error.detail}. "
                f"The release is in {self._out}. {KEPT}"
            ) from error
        self._leases.note(self._claim, version=version)
        return version

    def _train(self) -> Trained:
        data = self._data()
        self._folder.mkdir(parents=True, exist_ok=True)
        # Half a release of an attempt that was killed.
        shutil.rmtree(self._out, ignore_errors=True)
        command = [*self._commands.train, data, "--out", str(self._out)]
        command += ["--work", str(self._settings.work_folder)]
        command += ["--progress", str(self._progress_path)]
        if self._settings.weights is not None:
            command += ["--weights", str(self._settings.weights)]
        if (champion := self._champion_folder()) is not None:
            command += ["--champion", str(champion)]
        self._run_child("training", command)
        trained = Trained.read(self._folder)
        if trained is None:
            raise TrainingFailed(f"The training ended without a {RESULT_FILE} in {self._folder}")
        return trained

    def _deliver(self, version: str) -> str:
        rejected = self._patiently(lambda: self._delivery.registry.show(version)).rejected
        if rejected is not None:
            return f"Release {version} was rejected: {rejected}"
        verdict = self._claim.verdict or self._contest(version)
        done = self._patiently(lambda: self._delivery.decide(self._claim, version, verdict))
        # The registry has it.
        shutil.rmtree(self._out, ignore_errors=True)
        return done

    def _contest(self, version: str) -> dict[str, Any] | None:
        champion = self._patiently(self._delivery.registry.champion)
        if champion is None or champion == version:
            return None
        self._tell("compare")
        folders = [self._folder_of(one) for one in (champion, version)]
        out = self._folder / "verdict.json"
        command = [*self._commands.contest, *map(str, folders), self._data()]
        command += ["--out", str(out), "--kept", str(self._settings.work_folder / "answers")]
        command += ["--margin", str(self._settings.promotion_margin)]
        command += ["--confidence", str(self._settings.promotion_confidence)]
        self._run_child(f"comparison of release {version} with the champion", command)
        verdict: dict[str, Any] = {**json.loads(out.read_text()), "champion": champion}
        self._leases.note(self._claim, verdict=verdict)
        return verdict

    def _champion_folder(self) -> Path | None:
        """Of the release that serves: its network is tried too, and one can do without it."""
        self._tell("champion")
        try:
            champion = self._patiently(self._delivery.registry.champion)
            return None if champion is None else self._folder_of(champion)
        except (NotFound, Unavailable) as error:
            log.warning("champion_not_reached", error=error.detail)
            return None

    def _folder_of(self, version: str) -> Path:
        return self._patiently(lambda: self._delivery.registry.folder(version))

    def _run_child(self, what: str, command: Sequence[str]) -> None:
        deadline = time.monotonic() + self._settings.time_limit_seconds

        def check() -> None:
            self._heart.check()
            if time.monotonic() > deadline:
                raise TrainingFailed(
                    f"The {what} was stopped after {self._settings.time_limit_seconds:.0f} "
                    f"seconds, the limit. {KEPT}"
                )

        code = self._bench.run(command, self._folder / "training.log", check)
        if code < 0:
            raise Killed(
                f"The {what} was killed by signal {-code} in attempt {self._claim.attempt} of "
                f"{self._settings.max_attempts}; memory may be short"
            )
        if code > 0:
            said = self._bench.tail[-1].removeprefix("error: ") if self._bench.tail else "nothing"
            raise TrainingFailed(
                explained(
                    f"The {what} ended with {code}: {said}", self._settings, *self._bench.tail
                )
            )

    def _data(self) -> str:
        if self._claim.dataset is not None:
            return self._claim.dataset
        if self._settings.data is None:
            raise TrainingFailed("No data to train on: RAYON_TRAINER_DATA names no folder")
        return str(self._settings.data)

    def _patiently(self, act: Callable[[], Found]) -> Found:
        return self._delivery.patiently(act, self._heart.pause)

    @property
    def _progress_path(self) -> Path:
        return self._folder / "progress.jsonl"

    def _tell(self, step: str) -> None:
        line = json.dumps({"step": step, "done": 0, "of": 1, "at": now().isoformat()})
        # A full disk is told of by those who need the room.
        with suppress(OSError), self._progress_path.open("a") as progress:
            progress.write(line + "\n")

    def _report(self) -> tuple[dict[str, Any] | None, str]:
        return _last_progress(self._progress_path), "\n".join([*self._bench.tail])


def _last_progress(path: Path) -> dict[str, Any] | None:
    """The last whole line; the training may be writing the next one."""
    if not path.exists():
        return None
    for line in reversed(path.read_text(errors="replace").splitlines()):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            return found
    return None


def explained(message: str, settings: TrainerSettings, *said: str) -> str:
    """Put a full disk first, which else hides in what was said."""
    if any(words in line for line in (message, *said) for words in FULL_DISK):
        return f"The disk is full, make room in {settings.work_folder}. {KEPT}. {message}"
    return message
