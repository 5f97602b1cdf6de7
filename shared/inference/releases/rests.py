"""Pauses between tries of what keeps failing, such as the download of a release."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from shared.errors import ReleaseUnloadable

#: The rest after the first failure, doubled after each further one.
FIRST_SECONDS = 1.0
LONGEST_SECONDS = 60.0
#: A failure that nobody has tried to repeat for this long is forgotten.
FORGOTTEN_SECONDS = 180.0
#: Longest reason that is kept, in characters.
LONGEST_REASON = 500


@dataclass(frozen=True)
class _Failure:
    reason: str
    times: int
    until: float


class Rests:
    """The releases that could not be loaded, why, and when they may be tried again."""

    def __init__(self) -> None:
        self._failures: dict[str, _Failure] = {}
        self._lock = threading.Lock()

    def require_rested(self, version: str) -> None:
        """Raise `ReleaseUnloadable` while the version rests after a failure."""
        with self._lock:
            failure = self._failures.get(version)
        if failure is not None and time.monotonic() < failure.until:
            raise ReleaseUnloadable(failure.reason)

    def take_turn(self, version: str) -> None:
        """Start a try, after which `add` or `remove` follows; others rest meanwhile.

        Raises:
            ReleaseUnloadable: The version rests, or is being tried again.
        """
        now = time.monotonic()
        with self._lock:
            failure = self._failures.get(version)
            if failure is None:
                return
            if now < failure.until:
                raise ReleaseUnloadable(failure.reason)
            # A try takes as long as the time-outs of the registry: one thread waits, not all.
            self._failures[version] = replace(failure, until=now + LONGEST_SECONDS)

    def add(self, version: str, reason: str) -> None:
        """Let a version rest."""
        with self._lock:
            known = self._failures.get(version)
            times = known.times + 1 if known else 1
            # The exponent is bounded, because a float is.
            seconds = min(FIRST_SECONDS * 2 ** min(times - 1, 16), LONGEST_SECONDS)
            self._failures[version] = _Failure(
                reason[:LONGEST_REASON], times, time.monotonic() + seconds
            )

    def remove(self, version: str) -> None:
        """Forget the failures of a version."""
        with self._lock:
            self._failures.pop(version, None)

    def reasons(self) -> Mapping[str, str]:
        """Return the reasons of the failures by version."""
        long_ago = time.monotonic() - FORGOTTEN_SECONDS
        with self._lock:
            for version, failure in list(self._failures.items()):
                if failure.until < long_ago:
                    del self._failures[version]
            return {version: failure.reason for version, failure in self._failures.items()}
