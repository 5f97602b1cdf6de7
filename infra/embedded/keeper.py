"""Starts supervisord, and the programs that it has given up, again."""

import time
from collections.abc import Callable
from typing import Protocol

from infra.embedded.preflight import NotReady
from infra.embedded.terminal import say

#: Interval between two searches for programs that supervisord has given up, after 30 tries in eight
#: minutes.
FATAL_SECONDS = 10.0
#: Pauses before supervisord is started again: the first, and the longest after doubling.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
#: A supervisord that has run for this long is started again after the first pause.
CALM_SECONDS = 120.0


class Supervised(Protocol):
    """The part of `Supervisor` that is needed here."""

    def is_running(self) -> bool:
        """Return True while supervisord runs."""

    def last_words(self) -> str:
        """Return why supervisord has exited."""

    def start_fatal(self) -> list[str]:
        """Start the programs that supervisord has given up, and return their names."""


class Keeper:
    """Keeps supervisord and all programs running, with back-off.

    Args:
        supervisor: The supervisor of a system that was started completely.
        start_again: Ends the processes of a supervisord that has exited and starts all of them.
            May raise `NotReady` or `OSError`.
        clock: Seconds of a monotonic clock.
    """

    def __init__(
        self,
        supervisor: Supervised,
        start_again: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._supervisor = supervisor
        self._start_again = start_again
        self._clock = clock
        self._checked = self._started = clock()
        self._pause = FIRST_PAUSE_SECONDS
        self._due: float | None = None

    def look(self) -> None:
        """Start what does not run, unless it is not yet due. Returns at once if all runs."""
        if not self._supervisor.is_running():
            self._restart_when_due()
        elif self._clock() - self._checked > FATAL_SECONDS:
            self._checked = self._clock()
            for name in self._supervisor.start_fatal():
                say(f"[{name}] did not start for minutes; it is tried again")

    def _restart_when_due(self) -> None:
        if self._due is None:
            self._plan(self._supervisor.last_words())
        elif self._clock() >= self._due:
            self._due = None
            self._restart()

    def _plan(self, reason: str) -> None:
        if self._clock() - self._started > CALM_SECONDS:
            self._pause = FIRST_PAUSE_SECONDS
        self._due = self._clock() + self._pause
        say(f"[supervisord] exited and is started again in {self._pause:.0f} s: {reason}")
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)

    def _restart(self) -> None:
        self._started = self._clock()
        try:
            self._start_again()
        except (NotReady, OSError) as error:
            say(f"[supervisord] did not start: {error}")
