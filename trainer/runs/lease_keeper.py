"""Keeps a training run's lease while the work goes on, and hears what interrupts it."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import structlog

from shared.db.leases import LeaseLost
from shared.errors import Unavailable
from trainer.runs.leases import Claim, Leases

log = structlog.get_logger(__name__)


class Cancelled(Exception):
    """A person asked for the end of the run."""


class Stopped(Exception):
    """The service ends; the run goes on when it is back."""


class Heart:
    """Beats in a thread of its own, for an upload to the registry may take longer than the lease.

    Args:
        leases: Where the lease is renewed.
        claim: The run.
        stopping: Set when the service ends.
        report: Tells the last progress and the log's last lines.
        beat_seconds: Between two renewals.
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
        self._thread = threading.Thread(target=self._run, name="heart", daemon=True)

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
        """Go on, or raise `Cancelled`, `Stopped` or `LeaseLost`."""
        if self._interruption is not None:
            raise self._interruption
        if self._stopping.is_set():
            raise Stopped

    def pause(self, seconds: float) -> None:
        """Wait, unless something interrupts."""
        deadline = time.monotonic() + seconds
        self.check()
        while (left := deadline - time.monotonic()) > 0:
            self._stopping.wait(min(left, self._beat_seconds))
            self.check()

    def _run(self) -> None:
        while not self._over.wait(self._beat_seconds) and self._interruption is None:
            self._beat()
        if self._interruption is None:
            # What happened since the last beat belongs into the row as well.
            self._beat()

    def _beat(self) -> None:
        try:
            if self._leases.renew(self._claim, *self._report()):
                self._interruption = Cancelled
        except LeaseLost:
            log.warning("lease_lost", run=self._claim.run_id)
            self._interruption = LeaseLost
        except Unavailable as error:
            # Training goes on; the next renewal may come through.
            log.warning("lease_not_renewed", run=self._claim.run_id, error=str(error))
        except Exception:
            log.exception("lease_not_renewed", run=self._claim.run_id)
