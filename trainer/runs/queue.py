"""Training runs: one at a time, in a child process, with a clear end in every case."""

import os
import socket
import threading
from dataclasses import dataclass, field
from functools import cached_property

import structlog

from shared.db.leases import LeaseLost
from shared.db.models import TrainingStatus
from shared.db.session import UnitOfWork
from shared.errors import RayonError
from shared.inference.releases.access import Registry
from trainer.runs.attempt import KEPT, Attempt, Commands, Killed, explained
from trainer.runs.delivery import Delivery
from trainer.runs.lease_keeper import Cancelled, Stopped
from trainer.runs.leases import Claim, Leases
from trainer.settings import TrainerSettings

log = structlog.get_logger(__name__)

BEAT_SECONDS = 2.0


@dataclass(frozen=True)
class Runs:
    """Works off the training runs in the database.

    A message only says that there is something to do; so a lost one delays a run and no more.
    """

    unit_of_work: UnitOfWork
    registry: Registry
    settings: TrainerSettings
    commands: Commands = field(default_factory=Commands)
    beat_seconds: float = BEAT_SECONDS
    #: Set it to end what runs; the run goes back to the queue.
    stopping: threading.Event = field(default_factory=threading.Event)

    def work_off(self) -> None:
        """Run what was abandoned or is queued, oldest first, until nothing is left.

        Raises:
            Unavailable: The database does not answer.
        """
        while not self.stopping.is_set() and (claim := self._leases.claim()) is not None:
            log.info("training_begun", run=claim.run_id, attempt=claim.attempt)
            try:
                self._work(claim)
            except LeaseLost:
                log.warning("training_left_to_another", run=claim.run_id)

    def _work(self, claim: Claim) -> None:
        try:
            message = self._attempt(claim).run()
        except Cancelled:
            self._leases.end(claim, TrainingStatus.CANCELLED, f"Cancelled. {KEPT}")
        except Stopped:
            self._leases.give_back(claim, "The trainer was stopped; it goes on later", counts=False)
        except Killed as error:
            self._leases.give_back(claim, str(error), counts=True)
        except RayonError as error:
            self._leases.end(claim, TrainingStatus.FAILED, error.detail)
        except LeaseLost:
            raise
        except Exception as error:
            log.exception("training_crashed", run=claim.run_id)
            said = f"{type(error).__name__}: {error}"
            self._leases.end(claim, TrainingStatus.FAILED, explained(said, self.settings))
        else:
            self._leases.end(claim, TrainingStatus.FINISHED, message)

    def _attempt(self, claim: Claim) -> Attempt:
        delivery = Delivery(self.unit_of_work, self.registry, self.settings)
        return Attempt(
            claim, self._leases, delivery, self.commands, self.stopping, self.beat_seconds
        )

    @cached_property
    def _leases(self) -> Leases:
        # Unique among trainers, and readable for whoever wonders which one has the run.
        owner = f"trainer@{socket.gethostname()}:{os.getpid()}:{id(self):x}"
        return Leases(self.unit_of_work, owner, self.settings.max_attempts)
