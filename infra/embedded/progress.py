"""Progress of a start, which may take as long as something moves."""

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from infra.embedded.preflight import NotReady
from infra.embedded.terminal import say

#: Interval between two measurements of the processes.
LOOK_SECONDS = 5.0
#: A process that uses this share of a core is loading; one that waits for another uses less. On a
#: machine with many processes per core, it is this share of what a process gets.
BUSY_SHARE = 0.05
#: A program that has been started this often does not start.
MOST_STARTS = 20
#: Interval between two lines about what is awaited.
SAY_SECONDS = 20.0


@dataclass(frozen=True)
class Usage:
    """Process ID and CPU time, in seconds, of a running program."""

    pid: int
    cpu_seconds: float


@dataclass
class Progress:
    """Ends a start in which nothing moves, and prints what it waits for.

    A fixed limit would end the start of a busy machine, where a program may wait for minutes until
    it has read its libraries.

    Attributes:
        most_seconds: Longest time without progress.
        usage: Returns the running processes by program.
        load: Returns the number of processes per core that want to run.
        clock: Seconds of a monotonic clock.
    """

    most_seconds: float
    usage: Callable[[], Mapping[str, Usage]]
    load: Callable[[], float] = lambda: os.getloadavg()[0] / (os.cpu_count() or 1)
    clock: Callable[[], float] = time.monotonic
    _began: float = field(init=False)
    _moved: float = field(init=False)
    _looked: float = field(init=False)
    _said: float = field(init=False)
    _seen: tuple[str, dict[str, str]] = ("", {})
    _before: Mapping[str, Usage] = field(default_factory=dict)
    _starts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Start the clocks."""
        self._began = self._moved = self._looked = self._said = self.clock()

    def look(self, awaited: str, states: dict[str, str]) -> None:
        """Record what is awaited and the states of the programs.

        Raises:
            NotReady: A program was started too often, or nothing has moved for too long.
        """
        now = self.clock()
        if (awaited, states) != self._seen:
            self._seen, self._moved = (awaited, states), now
        if now - self._looked >= LOOK_SECONDS:
            if self._is_busy(now - self._looked):
                self._moved = now
            self._looked = now
        if now - self._moved > self.most_seconds:
            raise NotReady(
                f"Nothing has moved for {self.most_seconds:.0f} s while waiting for {awaited}. "
                f"Processes: {states}"
            )
        if now - self._said >= SAY_SECONDS:
            self._said = now
            say(f"  {now - self._began:.0f} s: waiting for {awaited}")

    def _is_busy(self, seconds: float) -> bool:
        before, self._before = self._before, self.usage()
        busy_seconds = BUSY_SHARE * seconds / max(1.0, self.load())
        is_busy = False
        for name, usage in self._before.items():
            earlier = before.get(name)
            if earlier is None or earlier.pid != usage.pid:
                self._count(name)
            elif usage.cpu_seconds - earlier.cpu_seconds >= busy_seconds:
                is_busy = True
        return is_busy

    def _count(self, name: str) -> None:
        self._starts[name] += 1
        if self._starts[name] > MOST_STARTS:
            raise NotReady(f"{name} was started {MOST_STARTS} times and ended each time.")
