"""A fault that a night tries."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from tests.bench.nights.night import Night
from tests.bench.nights.outcome import NOTHING, Allowed


class Skipped(Exception):
    """A fault cannot be tried on this machine; the message has the reason."""


@dataclass(frozen=True)
class Fault:
    """Fault that begins and ends with a block.

    Attributes:
        name: Name in the table, and of the option `--only`.
        inject: Begins the fault and ends it. Raises `Skipped`.
        allowed: What it may do to the clients.
        seconds: Length of the fault as a multiple of `--seconds`; 0 for a momentary one.
        databases: Databases on which it is tried; it would be the same on the others.
    """

    name: str
    inject: Callable[[Night], AbstractContextManager[None]]
    allowed: Allowed = NOTHING
    seconds: float = 1.0
    databases: tuple[str, ...] = ("sqlite", "postgres")
