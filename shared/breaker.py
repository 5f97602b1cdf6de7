"""Circuit breaker: after a failure a store is left alone until it answers a probe.

A store that hangs costs each request the whole time limit, and all their threads. So the first
failure refuses further calls at once, and a thread of its own asks the store until it answers: no
request pays for the trial.

Source: Nygard, "Release It!", 2nd edition, 2018, chapter 5.
"""

import threading
import time
from collections.abc import Callable

import structlog

from shared.errors import Unavailable

log = structlog.get_logger(__name__)

#: Pause between two probes of a store that does not answer, in seconds.
PAUSE_SECONDS = 0.5
#: `Retry-After` while a store does not answer, in seconds.
RETRY_AFTER_SECONDS = 2


class Breaker:
    """State of one store for all threads of this process: closed (it is called) or open.

    Args:
        name: Name of the store in errors and logs, such as `message queue`.
        probe: Asks the store for something small within a time limit. Any exception means that it
            does not answer.
        pause: Sleeps for a number of seconds.
    """

    def __init__(
        self,
        name: str,
        probe: Callable[[], object],
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._name = name
        self._probe = probe
        self._pause = pause
        self._lock = threading.Lock()
        self._reason: str | None = None
        self._is_probing = False

    @property
    def is_open(self) -> bool:
        """True while calls are refused."""
        return self._reason is not None

    def require_closed(self) -> None:
        """Raise `Unavailable` while the breaker is open."""
        if (reason := self._reason) is not None:
            raise Unavailable(
                f"The {self._name} does not answer: {reason}",
                retry_after_seconds=RETRY_AFTER_SECONDS,
            )

    def open(self, reason: str) -> None:
        """Refuse calls until the store answers a probe."""
        with self._lock:
            if self._reason is None:
                log.warning("breaker_opened", store=self._name, reason=reason)
            self._reason = reason
            self._start_probing()

    def suspect(self) -> None:
        """Ask the store, and refuse calls if it does not answer."""
        with self._lock:
            self._start_probing()

    def _start_probing(self) -> None:
        if not self._is_probing:
            self._is_probing = True
            name = f"probe of the {self._name}"
            threading.Thread(target=self._ask_until_answered, name=name, daemon=True).start()

    def _ask_until_answered(self) -> None:
        while not self._is_answered():
            self._pause(PAUSE_SECONDS)

    def _is_answered(self) -> bool:
        try:
            self._probe()
        except Exception as error:
            with self._lock:
                if self._reason is None:
                    log.warning("breaker_opened", store=self._name, reason=str(error))
                self._reason = self._reason or f"{type(error).__name__}: {error}".splitlines()[0]
            return False
        with self._lock:
            if self._reason is not None:
                log.info("breaker_closed", store=self._name)
            self._reason, self._is_probing = None, False
        return True
