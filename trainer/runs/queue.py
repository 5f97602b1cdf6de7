"""Works through the queue of training runs, one at a time, each to a recorded end."""

import os
import shutil
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import structlog

from shared.db.leases import LeaseLost
from shared.db.models import TrainingStatus
from shared.db.session import UnitOfWork
from shared.errors import RayonError, Unavailable
from shared.files import is_disk_full
from shared.inference.releases.access import Registry
from trainer.runs.attempt import STEPS_KEPT, Attempt, Commands, Killed, with_disk_hint
from trainer.runs.delivery import Delivery
from trainer.runs.lease_keeper import Cancelled, Stopped
from trainer.runs.leases import Claim, Leases
from trainer.settings import TrainerSettings

log = structlog.get_logger(__name__)

BEAT_SECONDS = 2.0
#: No run begins with less free space in the work folder; it would only fail.
ROOM_BYTES = 64 * 1024**2


def free_bytes_of(folder: Path) -> int:
    """Return the free space on the disk of a folder, which is created."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if is_disk_full(error):
            return 0
        raise
    return shutil.disk_usage(folder).free


@dataclass(frozen=True)
class Runs:
    """Executes the training runs queued in the database.

    A message is only a wake-up signal, so a lost one merely delays a run.
    """

    unit_of_work: UnitOfWork
    registry: Registry
    settings: TrainerSettings
    commands: Commands = field(default_factory=Commands)
    beat_seconds: float = BEAT_SECONDS
    #: Set it to stop the current run and put it back into the queue.
    stopping: threading.Event = field(default_factory=threading.Event)
    #: Returns the free space on the disk of a folder.
    free_bytes: Callable[[Path], int] = free_bytes_of

    def run_pending(self) -> None:
        """Execute abandoned and queued runs, oldest first, until none is left.

        Raises:
            Unavailable: The database does not answer, or the disk is full.
        """
        while self._may_begin() and (claim := self._leases.claim()) is not None:
            log.info("training_started", run=claim.run_id, attempt=claim.attempt)
            try:
                self._work(claim)
            except LeaseLost:
                log.warning("training_lease_lost", run=claim.run_id)

    def _may_begin(self) -> bool:
        if self.stopping.is_set():
            return False
        folder = self.settings.work_folder
        if (free := self.free_bytes(folder)) < ROOM_BYTES:
            raise Unavailable(
                f"The disk is full, make room in {folder}. Expected {ROOM_BYTES} free bytes before "
                f"a training begins. Received: {free}"
            )
        return True

    def _work(self, claim: Claim) -> None:
        try:
            message = self._attempt(claim).run()
        except Cancelled:
            self._leases.end(claim, TrainingStatus.CANCELLED, f"Cancelled. {STEPS_KEPT}")
        except Stopped:
            self._leases.requeue(
                claim,
                "The trainer was stopped; the run resumes at its next start",
                counts_attempt=False,
            )
        except Killed as error:
            self._leases.requeue(claim, str(error), counts_attempt=True)
        except RayonError as error:
            self._leases.end(claim, TrainingStatus.FAILED, error.detail)
        except LeaseLost:
            raise
        except Exception as error:
            log.exception("training_crashed", run=claim.run_id)
            message = f"{type(error).__name__}: {error}"
            self._leases.end(claim, TrainingStatus.FAILED, with_disk_hint(message, self.settings))
        else:
            self._leases.end(claim, TrainingStatus.FINISHED, message)

    def _attempt(self, claim: Claim) -> Attempt:
        delivery = Delivery(self.unit_of_work, self.registry, self.settings)
        return Attempt(
            claim, self._leases, delivery, self.commands, self.stopping, self.beat_seconds
        )

    @cached_property
    def _leases(self) -> Leases:
        # Unique among trainers, and readable for a person who looks for the run's trainer.
        owner = f"trainer@{socket.gethostname()}:{os.getpid()}:{id(self):x}"
        return Leases(self.unit_of_work, owner, self.settings.max_attempts)
