"""Bounds of every attack: loopback only, and limited bytes, connections and seconds."""

import ipaddress
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from urllib.parse import urlsplit

#: An attack that takes longer is stopped.
ATTACK_SECONDS = 240
#: Bytes and connections of one attack over plain sockets.
ATTACK_BYTES = 320 * 2**20
ATTACK_CONNECTIONS = 1_500


class BoundExceeded(Exception):
    """An attack would exceed its bounds."""


@dataclass
class Budget:
    """Bytes and connections that an attack may still use."""

    sendable: int = ATTACK_BYTES
    connections: int = ATTACK_CONNECTIONS

    def send(self, count: int) -> None:
        """Subtract bytes. Raises `BoundExceeded`."""
        self.sendable -= count
        if self.sendable < 0:
            raise BoundExceeded(f"Expected at most {ATTACK_BYTES} bytes in an attack")

    def connect(self) -> None:
        """Subtract a connection. Raises `BoundExceeded`."""
        self.connections -= 1
        if self.connections < 0:
            raise BoundExceeded(f"Expected at most {ATTACK_CONNECTIONS} connections in an attack")


def loopback_address(url: str) -> tuple[str, int]:
    """Return the host and port of a URL. Raises `BoundExceeded` for one of another machine."""
    parts = urlsplit(url)
    try:
        is_loopback = ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        # A name may lead anywhere, so `localhost` is refused too.
        is_loopback = False
    if not is_loopback or parts.port is None or parts.hostname is None:
        raise BoundExceeded(f"Expected a loopback address with a port. Received: {url}")
    return parts.hostname, parts.port


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raise `BoundExceeded` in the main thread after `seconds`."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise BoundExceeded(f"Expected an attack to end within {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
