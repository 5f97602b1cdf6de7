"""Connections, headers and bodies without end."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from tests.bench.attacks import sockets
from tests.bench.attacks.figure import Figure
from tests.bench.attacks.target import Target

ATTACKER = "127.0.0.30"
IDLE, ADDRESSES, ANSWER_SECONDS, ANSWER_LIMIT = 1_100, 50, 15.0, 1.0
HEADER_MEGABYTES, UPLOADS, UPLOAD_BYTES = 60, 20, 11_500_000
#: Growth of the gateway that counts as held; its own noise is below it.
GROWTH_MEGABYTES = 60
#: Connections that send slowly, how long they are watched, and the limit.
SLOW, SLOW_SECONDS, SLOW_LIMIT = 20, 75.0, 60.0
REQUEST = b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\n"
MULTIPART = b"Content-Type: multipart/form-data; boundary=x\r\n"
FILE_PART = (
    b'--x\r\nContent-Disposition: form-data; name="image"; filename="p.jpg"\r\n'
    b"Content-Type: image/jpeg\r\n\r\n"
)
PART = b'--x\r\nContent-Disposition: form-data; name="designation"\r\n\r\n'


def idle(target: Target) -> list[Figure]:
    """Open connections from one address and send nothing."""
    return [_idle(target, "from one address", [ATTACKER] * IDLE)]


def idle_from_many(target: Target) -> list[Figure]:
    """Open connections from many addresses and send nothing."""
    many = [f"127.0.1.{number % ADDRESSES + 1}" for number in range(IDLE)]
    return [_idle(target, f"from {ADDRESSES} addresses", many)]


def uploads(target: Target) -> list[Figure]:
    """Begin uploads without a token and never end them."""
    return [_uploads(target)]


def headers(target: Target) -> list[Figure]:
    """Send headers without end."""
    return [_headers(target)]


def slow(target: Target) -> list[Figure]:
    """Send headers and bodies byte by byte."""
    return [
        _slow(target, "header lines", _slow_headers),
        _slow(target, "bodies", _slow_bodies),
    ]


def _idle(target: Target, source: str, addresses: list[str]) -> Figure:
    with sockets.connections(target, addresses) as opened:
        seconds = _answer_seconds(target)
        answer = "no answer" if seconds >= ANSWER_SECONDS else "answered"
        note = f"{len(opened)} connections open, {answer}"
    target.settle()
    return Figure(
        "5",
        f"answer to an honest request beside 1,100 idle connections {source}",
        seconds,
        "s",
        ANSWER_LIMIT,
        "test_connections_of_one_address_are_limited",
        note,
    )


def _answer_seconds(target: Target) -> float:
    started = time.monotonic()
    try:
        with target.http(timeout=ANSWER_SECONDS) as http:
            http.get("/livez").raise_for_status()
    except httpx.HTTPError:
        return ANSWER_SECONDS
    return time.monotonic() - started


def _headers(target: Target) -> Figure:
    lines = b"a: b\r\n" * (HEADER_MEGABYTES * 2**20 // 6)
    with growth(target) as grown, sockets.connections(target, [ATTACKER]) as (one,):
        one.settimeout(20)
        sent = sockets.send(target, one, b"GET /livez HTTP/1.1\r\n" + lines)
        answer = sockets.status(one)
    target.settle()
    return Figure(
        "5",
        f"growth of the gateway by {HEADER_MEGABYTES} MB of headers",
        grown[0],
        "MB",
        GROWTH_MEGABYTES,
        "test_headers_beyond_the_limit_are_431",
        f"{sent / 2**20:.1f} MB sent, status {answer}",
    )


def _uploads(target: Target) -> Figure:
    length = f"Content-Length: {UPLOAD_BYTES + 100_000}\r\n\r\n".encode()
    with (
        growth(target) as grown,
        sockets.connections(target, [ATTACKER] * UPLOADS, timeout=10) as opened,
    ):
        upload = REQUEST + MULTIPART + length + FILE_PART + b"a" * UPLOAD_BYTES
        sent = sum(sockets.send(target, one, upload) for one in opened)
        time.sleep(2)
        files = _unlinked_megabytes(target.process("gateway").pid)
    target.settle()
    return Figure(
        "5",
        f"memory and temporary files held by {UPLOADS} unfinished uploads, not signed in",
        grown[0] + files,
        "MB",
        GROWTH_MEGABYTES,
        "test_body_of_a_stranger_is_not_read",
        f"{sent / 2**20:.0f} MB sent, {files:.0f} MB in files",
    )


def _unlinked_megabytes(pid: int) -> float:
    """Return the megabytes of the open files of a process that have no name, as uploads have."""
    sizes = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            is_unlinked = str(link.readlink()).endswith("(deleted)")
            sizes += link.stat().st_size if is_unlinked else 0
    return sizes / 2**20


def _slow(target: Target, what: str, trickle: Callable[[Target], float]) -> Figure:
    return Figure(
        "5",
        f"life of {SLOW} connections that send their {what} byte by byte",
        trickle(target),
        "s",
        SLOW_LIMIT,
        "test_slow_headers_and_bodies_are_408",
        f"watched for {SLOW_SECONDS:.0f} s",
    )


def _slow_headers(target: Target) -> float:
    with sockets.connections(target, [ATTACKER] * SLOW) as opened:
        for one in opened:
            sockets.send(target, one, b"GET /livez HTTP/1.1\r\nHost: x\r\n")
        return sockets.seconds_until_closed(target, opened, b"a: b\r\n", SLOW_SECONDS)


def _slow_bodies(target: Target) -> float:
    with target.account("slow", address=ATTACKER) as client:
        token = client.headers["Authorization"].encode()
    head = REQUEST + MULTIPART + b"Content-Length: 100000\r\nAuthorization: " + token
    with sockets.connections(target, [ATTACKER] * SLOW) as opened:
        for one in opened:
            sockets.send(target, one, head + b"\r\n\r\n" + PART)
        return sockets.seconds_until_closed(target, opened, b"-", SLOW_SECONDS)


@contextmanager
def growth(target: Target) -> Iterator[list[float]]:
    """Measure the largest growth of the gateway's RSS during the block, in megabytes."""
    before, done = target.megabytes(), threading.Event()
    grown = [0.0]

    def watch() -> None:
        while not done.wait(0.05):
            grown[0] = max(grown[0], target.process("gateway").memory_info().rss / 2**20 - before)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield grown
    finally:
        done.set()
        thread.join()
