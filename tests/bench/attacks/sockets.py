"""Plain connections that send what no HTTP client would."""

import contextlib
import selectors
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from tests.bench.attacks.target import Target


@contextmanager
def connections(
    target: Target, addresses: Sequence[str], timeout: float = 5
) -> Iterator[list[socket.socket]]:
    """Open a connection from each address; leave out those that are refused."""
    with ExitStack() as stack:
        opened = []
        for address in addresses:
            target.budget.connect()
            with contextlib.suppress(OSError):
                opened.append(
                    stack.enter_context(
                        socket.create_connection(
                            target.endpoint, timeout=timeout, source_address=(address, 0)
                        )
                    )
                )
        yield opened


def send(target: Target, connection: socket.socket, content: bytes, piece: int = 2**16) -> int:
    """Send until the other side closes or stops reading; return the bytes sent."""
    sent = 0
    with contextlib.suppress(OSError):
        while sent < len(content):
            part = content[sent : sent + piece]
            target.budget.send(len(part))
            connection.sendall(part)
            sent += len(part)
    return sent


def status(connection: socket.socket) -> int:
    """Return the status of a response, or 0 if none came before the end or the timeout."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(connection.recv(4096).split(b" ", 2)[1])
    return 0


def seconds_until_closed(
    target: Target,
    opened: list[socket.socket],
    drop: bytes,
    seconds: float,
    interval: float = 1.0,
) -> float:
    """Send a drop on each connection again and again; return the time until all are closed.

    Args:
        target: The attacked system.
        opened: Open connections.
        drop: Bytes to send each time.
        seconds: The return value if a connection lives longer.
        interval: Seconds between two drops.
    """
    started = time.monotonic()
    alive = list(opened)
    while alive and time.monotonic() - started < seconds:
        alive = [one for one in alive if _accepts(target, one, drop)]
        time.sleep(interval)
    return time.monotonic() - started if not alive else seconds


def _accepts(target: Target, connection: socket.socket, drop: bytes) -> bool:
    connection.setblocking(False)
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        if selector.select(0):
            return False
    target.budget.send(len(drop))
    try:
        connection.send(drop)
    except OSError:
        return False
    return True
