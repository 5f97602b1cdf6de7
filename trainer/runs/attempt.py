"""One attempt at a training run: train, register, compare, decide."""

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
from trainer.release.acceptance import NOT_PASSED
from trainer.runs import quick
from trainer.runs.child_process import CommandRunner
from trainer.runs.delivery import RESULT_FILE, Delivery, Trained, TrainingFailed
from trainer.runs.lease_keeper import LeaseKeeper
from trainer.runs.leases import Claim, Leases
from trainer.runs.limits import Limits, MemoryExceeded
from trainer.runs.recent_answers import write_recent_answers
from trainer.runs.step_progress import StepProgress
from trainer.settings import TrainerSettings

log = structlog.get_logger(__name__)

Result = TypeVar("Result")

STEPS_KEPT = "Finished steps are kept, so a new run on the same data repeats none of them"
MEGABYTE = 2**20
RELEASE, VERDICT, ANSWERS = "release", "verdict.json", "answers.jsonl"
#: Texts that report a full disk: the operating system's, and SQLite's.
FULL_DISK_TEXTS = (os.strerror(errno.ENOSPC), "disk is full")


class Killed(Exception):
    """The training was killed by a signal, such as the kernel's when memory runs out."""


@dataclass(frozen=True)
class Commands:
    """Command lines of the child processes."""

    train: Sequence[str] = (sys.executable, "-m", "trainer", "train")
    contest: Sequence[str] = (sys.executable, "-m", "trainer.release.comparison")


class Attempt:
    """Execute one claimed run to its end, without repeating the work of earlier attempts.

    Args:
        claim: The run.
        leases: Updates the run's row.
        delivery: Registers and promotes the release.
        commands: Command lines of the child processes.
        stopping: Set when the service shuts down.
        beat_seconds: Interval between renewals of the lease.
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
        self._out = self._folder / RELEASE
        self._runner = CommandRunner(
            self._settings.work_folder,
            self._settings.stop_grace_seconds,
            _limits(self._settings),
        )
        self._step_progress = StepProgress()
        self._lease_keeper = LeaseKeeper(leases, claim, stopping, self._report, beat_seconds)

    def run(self) -> str:
        """Run the attempt and return the decision as a sentence for a person.

        Raises:
            TrainingFailed: No decision was reached; the message gives the reason.
            Killed: The training was killed and may be retried.
            Cancelled, Stopped, LeaseLost: The attempt was interrupted.
        """
        with self._lease_keeper:
            first = self._quick() if self._settings.lineup == "both" else ""
            version = self._claim.version or self._train_and_register()
            try:
                done = self._deliver(version)
            except Unavailable as error:
                raise TrainingFailed(
                    f"Trained and registered as release {version}, but not decided: "
                    f"{error.detail}. An admin can promote it: POST /v1/releases/{version}/promote"
                ) from error
        return f"{done}. Before it, {first}" if first else done

    def _quick(self) -> str:
        """Train, register and decide the quick line-up; return the outcome, empty if skipped.

        It is not needed where the champion knows every category. A failure is no reason to leave
        out the full line-up.
        """
        folder = self._folder / quick.FOLDER
        if self._claim.version is not None:
            return ""
        outcome = quick.kept_outcome(folder)
        if outcome is None:
            try:
                outcome = self._first_release(folder)
            except (TrainingFailed, Unavailable) as error:
                log.warning("quick_lineup_failed", run=self._claim.run_id, error=error.detail)
                outcome = f"the quick line-up failed: {error.detail}"
            quick.keep_outcome(folder, outcome)
            if outcome:
                self._leases.record(self._claim, message=f"Before the full line-up, {outcome}")
        return outcome

    def _first_release(self, folder: Path) -> str:
        trained = Trained.read(folder) or self._train(
            folder / RELEASE, "--lineup", "quick", "--unless-known"
        )
        if trained.status == "skipped":
            return ""
        out = trained.folder or folder / RELEASE
        self._record_step("register")
        version = self._retry(
            lambda: self._delivery.register(self._claim, out, trained, quick.DESCRIPTION)
        )
        if trained.rejected is not None:
            return f"release {version} of the quick line-up was rejected: {trained.rejected}"
        verdict = self._contest(version, folder / VERDICT)
        done = self._retry(lambda: self._delivery.decide(self._claim, version, verdict))
        shutil.rmtree(out, ignore_errors=True)
        return f"release {version} of the quick line-up: {done}"

    def _train_and_register(self) -> str:
        lineup = "quick" if self._settings.lineup == "quick" else "full"
        trained = Trained.read(self._folder) or self._train(self._out, "--lineup", lineup)
        self._record_step("register")
        try:
            folder = trained.folder or self._out
            version = self._retry(lambda: self._delivery.register(self._claim, folder, trained))
        except Unavailable as error:
            raise TrainingFailed(
                f"Trained, but not registered: {error.detail}. "
                f"The release is in {folder}. {STEPS_KEPT}"
            ) from error
        self._leases.record(self._claim, version=version, labels=trained.labels)
        return version

    def _train(self, out: Path, *options: str) -> Trained:
        data = self._data()
        out.parent.mkdir(parents=True, exist_ok=True)
        # A killed attempt may have left an incomplete release.
        shutil.rmtree(out, ignore_errors=True)
        command = [*self._commands.train, data, "--out", str(out), *options]
        command += ["--work", str(self._settings.work_folder)]
        command += ["--progress", str(self._progress_path)]
        if self._settings.weights is not None:
            command += ["--weights", str(self._settings.weights)]
        if (champion := self._champion_folder()) is not None:
            command += ["--champion", str(champion)]
        command += ["--arithmetic", self._settings.arithmetic]
        command += ["--class-balance", str(self._settings.class_balance)]
        command += ["--final-fit", self._settings.final_fit]
        if self._settings.offline:
            command.append("--offline")
        answers = self._folder / ANSWERS
        if self._claim.dataset is not None and self._settings.recent_answers:
            most = self._settings.recent_answers
            unit_of_work = self._delivery.unit_of_work
            self._retry(lambda: write_recent_answers(unit_of_work, most, answers))
            command += ["--answers", str(answers)]
        try:
            self._run_child("training", command, (0, NOT_PASSED))
        finally:
            answers.unlink(missing_ok=True)
        trained = Trained.read(out.parent)
        if trained is None:
            raise TrainingFailed(
                f"Expected {RESULT_FILE} in {out.parent} after the training. Received: no such file"
            )
        return trained

    def _deliver(self, version: str) -> str:
        rejected = self._retry(lambda: self._delivery.registry.show(version)).rejected
        if rejected is not None:
            return f"Release {version} was rejected: {rejected}"
        verdict = self._claim.verdict
        if verdict is None and (verdict := self._contest(version, self._folder / VERDICT)):
            self._leases.record(self._claim, verdict=verdict)
        done = self._retry(lambda: self._delivery.decide(self._claim, version, verdict))
        # The registry has its own copy by now.
        shutil.rmtree(self._out, ignore_errors=True)
        return done

    def _contest(self, version: str, out: Path) -> dict[str, Any] | None:
        champion = self._retry(self._delivery.registry.champion)
        if champion is None or champion == version:
            return None
        self._record_step("compare")
        folders = [self._folder_of(one) for one in (champion, version)]
        command = [*self._commands.contest, *map(str, folders), self._data()]
        command += ["--out", str(out), "--kept", str(self._settings.work_folder / "answers")]
        rule = self._retry(self._delivery.rule)
        command += ["--margin", str(rule.margin), "--confidence", str(rule.confidence)]
        command += ["--probability", str(rule.probability)]
        command += ["--tolerance", str(self._settings.promotion_tolerance)]
        self._run_child(f"comparison of release {version} with the champion", command)
        return {**json.loads(out.read_text()), "champion": champion}

    def _champion_folder(self) -> Path | None:
        """Return the champion's release folder, or `None` if it cannot be reached.

        The training also tries the champion's network, but can do without it.
        """
        self._record_step("champion")
        try:
            champion = self._retry(self._delivery.registry.champion)
            return None if champion is None else self._folder_of(champion)
        except (NotFound, Unavailable) as error:
            log.warning("champion_fetch_failed", error=error.detail)
            return None

    def _folder_of(self, version: str) -> Path:
        return self._retry(lambda: self._delivery.registry.folder(version))

    def _run_child(self, what: str, command: Sequence[str], expected: Sequence[int] = (0,)) -> None:
        deadline = time.monotonic() + self._settings.time_limit_seconds

        def check() -> None:
            self._lease_keeper.check()
            if time.monotonic() > deadline:
                raise TrainingFailed(
                    f"The {what} exceeded its time limit of "
                    f"{self._settings.time_limit_seconds:.0f} seconds. {STEPS_KEPT}"
                )

        try:
            code = self._runner.run(command, self._folder / "training.log", check)
        except MemoryExceeded as error:
            raise TrainingFailed(_memory_message(what, error)) from error
        if code < 0:
            raise Killed(
                f"The {what} was killed by signal {-code} in attempt {self._claim.attempt} of "
                f"{self._settings.max_attempts}; the machine may be short of memory"
            )
        if code not in expected:
            tail = self._runner.tail
            last_line = tail[-1].removeprefix("error: ") if tail else "no output"
            message = f"The {what} failed with exit code {code}: {last_line}"
            raise TrainingFailed(with_disk_hint(message, self._settings, *tail))

    def _data(self) -> str:
        if self._claim.dataset is not None:
            return self._claim.dataset
        if self._settings.data is None:
            raise TrainingFailed(
                "Expected a dataset in the run or a folder in RAYON_TRAINER_DATA. Received: neither"
            )
        return str(self._settings.data)

    def _retry(self, act: Callable[[], Result]) -> Result:
        return self._delivery.retry(act, self._lease_keeper.pause)

    @property
    def _progress_path(self) -> Path:
        return self._folder / "progress.jsonl"

    def _record_step(self, step: str) -> None:
        line = json.dumps({"step": step, "done": 0, "of": 1, "at": now().isoformat()})
        # Progress is optional: a full disk is reported by the code that must write.
        with suppress(OSError), self._progress_path.open("a") as progress:
            progress.write(line + "\n")

    def _report(self) -> tuple[dict[str, Any] | None, str]:
        lines = [*self._runner.tail]
        progress = self._step_progress.of(_last_progress(self._progress_path), lines)
        return progress, "\n".join(lines)


def _limits(settings: TrainerSettings) -> Limits:
    return Limits(
        settings.niceness,
        settings.is_background,
        settings.threads,
        settings.memory_megabytes * MEGABYTE,
    )


def _memory_message(what: str, error: MemoryExceeded) -> str:
    return (
        f"The {what} was ended, because it used {error.used // MEGABYTE} MiB of memory. Expected "
        f"at most {error.limit // MEGABYTE} MiB (RAYON_TRAINER_MEMORY_MEGABYTES): raise it if the "
        f"machine has more to spare, or train on fewer rows. {STEPS_KEPT}"
    )


def _last_progress(path: Path) -> dict[str, Any] | None:
    """Return the last complete line; the training may be writing the next one."""
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


def with_disk_hint(message: str, settings: TrainerSettings, *output: str) -> str:
    """Return the message, preceded by a hint if it or the output reports a full disk."""
    if any(text in line for line in (message, *output) for text in FULL_DISK_TEXTS):
        return f"The disk is full, make room in {settings.work_folder}. {STEPS_KEPT}. {message}"
    return message
