"""Renews a training run's lease in the background and detects interruptions."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import structlog

from shared.db.leases import LeaseLost
from shared.errors import Unavailable
from shared.progress import PROGRESS
from trainer.runs.leases import Claim, Leases

log = structlog.get_logger(__name__)

#: Loop that executes training runs, in the heartbeat.
RUNS_LOOP = "training_runs"


class Cancelled(Exception):
    """A person cancelled the run."""


class Stopped(Exception):
    """The service is shutting down; the run resumes after the next start."""


class LeaseKeeper:
    """Renews a lease in its own thread: an upload to the registry may outlast the lease.

    Args:
        leases: Renews the lease.
        claim: The run.
        stopping: Set when the service shuts down.
        report: Returns the latest progress and the last lines of the log.
        beat_seconds: Interval between renewals.
    """

    def __init__(
        self,
        leases: Leases,
        claim: Claim,
        stopping: threading.Event,
        report: Callable[[], tuple[dict[str, Any] | None, str]],
        beat_seconds: float,
    ) -> None:
        self._leases = leases
        self._claim = claim
        self._stopping = stopping
        self._report = report
        self._beat_seconds = beat_seconds
        self._over = threading.Event()
        self._interruption: type[Exception] | None = None
        self._thread = threading.Thread(target=self._run, name="lease_keeper", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def check(self) -> None:
        """Raise `Cancelled`, `Stopped` or `LeaseLost` if the run was interrupted."""
        if self._interruption is not None:
            raise self._interruption
        if self._stopping.is_set():
            raise Stopped

    def pause(self, seconds: float) -> None:
        """Sleep, but raise as `check` does as soon as the run is interrupted."""
        deadline = time.monotonic() + seconds
        self.check()
        while (left := deadline - time.monotonic()) > 0:
            self._stopping.wait(min(left, self._beat_seconds))
            self.check()

    def _run(self) -> None:
        while not self._over.wait(self._beat_seconds) and self._interruption is None:
            self._beat()
        if self._interruption is None:
            # The row must also contain the progress since the last renewal.
            self._beat()

    def _beat(self) -> None:
        try:
            if self._leases.renew(self._claim, *self._report()):
                self._interruption = Cancelled
            # A run takes hours, in which the loop does nothing else.
            PROGRESS.succeeded(RUNS_LOOP)
        except LeaseLost:
            log.warning("lease_lost", run=self._claim.run_id)
            self._interruption = LeaseLost
        except Unavailable as error:
            # Training continues; the next renewal may succeed.
            log.warning("lease_renewal_failed", run=self._claim.run_id, error=str(error))
        except Exception:
            log.exception("lease_renewal_failed", run=self._claim.run_id)
