"""Connections to a PostgreSQL that may stop answering.

The driver takes 5 MiB, so only a process that uses PostgreSQL imports this module.
"""

import time
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen

from shared.breaker import Breaker

Result = TypeVar("Result")


class AnsweringConnection(psycopg.Connection[Any]):
    """A connection whose statements end with an error once the server is dead.

    Attributes:
        is_dead: Decides it by the seconds of silence.
    """

    is_dead: Callable[[float], bool] = staticmethod(lambda _seconds: False)

    def wait(self, gen: PQGen[Result], *args: Any, **options: Any) -> Result:
        """Run a statement's steps; see `psycopg.Connection.wait`."""
        return super().wait(self._watched(gen), *args, **options)

    def _watched(self, gen: PQGen[Result]) -> Generator[Any, Any, Result]:
        """Pass the steps on. `ready` is 0 if nothing has arrived within a tenth of a second."""
        last = time.monotonic()
        try:
            step = next(gen)
            while True:
                ready = yield step
                if ready:
                    last = time.monotonic()
                elif self.is_dead(time.monotonic() - last):
                    gen.close()
                    # Its state is unknown, so it must not return to the pool.
                    self.close()
                    raise psycopg.OperationalError("the server has stopped answering")
                step = gen.send(ready)
        except StopIteration as end:
            result: Result = end.value
            return result


class Silence:
    """Judges the silence of a server by asking it on a new connection."""

    def __init__(self, seconds: float, breaker: Breaker) -> None:
        self._seconds = seconds
        self._breaker = breaker

    def is_dead(self, seconds: float) -> bool:
        """Return True if the server is dead after this long, in seconds."""
        if seconds < self._seconds:
            return False
        if self._breaker.is_open:
            return True
        self._breaker.suspect()
        return False


def probe(address: str, seconds: int) -> None:
    """Connect to a PostgreSQL within some seconds. Raises an error if it does not answer."""
    try:
        psycopg.connect(address, connect_timeout=seconds).close()
    except psycopg.OperationalError as error:
        # One that refuses, because it has too many clients for example, answers.
        if "FATAL" not in str(error):
            raise
