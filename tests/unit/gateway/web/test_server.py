"""Tests of the limits on connections, headers, bodies and time, over real sockets."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import httpx
import pytest
import uvicorn

from gateway.settings import ConnectionSettings
from gateway.web import server as web_server
from gateway.web.server import limited_protocol
from shared.db.models import Role
from tests.support.factories import make_job
from tests.support.servers import until
from tests.unit.gateway.conftest import Api

SMALL = ConnectionSettings(
    max_connections=12,
    max_connections_per_address=4,
    max_header_bytes=4096,
    max_headers=20,
    header_seconds=1.5,
    min_body_bytes_per_second=1000,
    body_seconds=2.0,
    keep_alive_seconds=30,
)
HEAD = b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
Serve = Callable[..., int]


@pytest.fixture
def serve(api: Api) -> Iterator[Serve]:
    """Return a function that serves the gateway with some limits and returns its port."""
    with ExitStack() as stack:
        yield lambda settings=SMALL, proxies=(), app=None: stack.enter_context(
            _served(app or api.client.app, settings, proxies)
        )


@contextmanager
def _served(app: Any, settings: ConnectionSettings, proxies: tuple[str, ...]) -> Iterator[int]:
    config = uvicorn.Config(
        app,
        http=limited_protocol(settings, proxies),
        ws="none",
        lifespan="off",
        log_config=None,
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        until(lambda: server.started, 10, "the server starts")
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def connect(port: int, address: str = "127.0.0.1") -> socket.socket:
    """Open a connection from a loopback address."""
    return socket.create_connection(("127.0.0.1", port), timeout=15, source_address=(address, 0))


def answer(one: socket.socket) -> tuple[int, dict[str, Any]]:
    """Read a response to the end of the connection, or to the length of its body."""
    response = b""
    while not _is_whole(response) and (piece := one.recv(65_536)):
        response += piece
    head, _, body = response.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), json.loads(body or b"{}")


def _is_whole(response: bytes) -> bool:
    head, _, body = response.lower().partition(b"\r\n\r\n")
    _, found, length = head.partition(b"content-length: ")
    return bool(found) and len(body) >= int(length.split(b"\r\n")[0])


def is_closed(one: socket.socket) -> bool:
    """Return True once the server has closed a connection."""
    one.settimeout(0.05)
    try:
        return one.recv(65_536) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def is_alive(port: int, address: str = "127.0.0.9") -> bool:
    """Return True if an honest client gets a response."""
    with connect(port, address) as one:
        one.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        return answer(one)[0] == 200


def test_connections_of_one_address_are_limited(serve: Serve) -> None:
    port = serve()
    with ExitStack() as stack:
        idle = [stack.enter_context(connect(port)) for _ in range(6)]
        until(lambda: is_closed(idle[0]) and is_closed(idle[1]), 5, "the oldest two are closed")
        assert not any(is_closed(one) for one in idle[2:])
        assert is_alive(port, "127.0.0.1")


def test_idle_connections_keep_nobody_out(serve: Serve) -> None:
    port = serve()
    with ExitStack() as stack:
        idle = [
            stack.enter_context(connect(port, f"127.0.0.{10 + number % 5}")) for number in range(20)
        ]
        assert is_alive(port)
        until(lambda: sum(map(is_closed, idle)) >= 8, 5, "the oldest are closed")
        assert not is_closed(idle[-1])


def test_connection_beyond_those_in_use_gets_503(
    serve: Serve, api: Api, mine: dict[str, str]
) -> None:
    user = api.user()
    api.add(job := make_job(user))
    token = api.sign(user)["Authorization"]
    request = f"GET /v1/jobs/{job.id}?wait=8 HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n"
    port = serve()
    with ExitStack() as stack:
        waiting = [stack.enter_context(connect(port)) for _ in range(4)]
        for one in waiting:
            one.sendall(request.encode())
        time.sleep(0.5)
        status, problem = answer(stack.enter_context(connect(port)))
        assert (status, problem["type"]) == (503, "urn:rayon:problem:unavailable")
        assert is_alive(port)
        assert not any(map(is_closed, waiting))
        one = waiting[0]
        one.settimeout(15)
        assert answer(one)[0] == 200


def test_trusted_proxy_has_no_limit_of_its_own(serve: Serve) -> None:
    port = serve(proxies=("127.0.0.0/30", "not-an-address"))
    with ExitStack() as stack:
        opened = [stack.enter_context(connect(port)) for _ in range(10)]
        assert is_alive(port, "127.0.0.1")
        assert not any(map(is_closed, opened))


@pytest.mark.parametrize(
    "head",
    [
        b"GET /livez HTTP/1.1\r\n" + b"a: b\r\n" * 100_000,
        b"GET /livez HTTP/1.1\r\na: " + b"b" * 300_000,
        b"GET /livez?" + b"a" * 300_000,
        b"GET /livez HTTP/1.1\r\n" + b"a: b\r\n" * 21 + b"\r\n",
        b"GET /livez HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\na: " + b"b" * 1_000_000,
    ],
)
def test_headers_beyond_the_limit_are_431(serve: Serve, head: bytes) -> None:
    port = serve()
    with connect(port) as one:
        try:
            one.sendall(head)
        except ConnectionError:
            return
        status, problem = answer(one)
        if status == 200:
            # The request was complete, and was answered before its trailers came.
            assert b"chunked" in head
        else:
            assert status == problem["status"] == 431
        until(lambda: is_closed(one), 8, "the connection is closed")


def test_trailers_beyond_the_limit_get_no_second_response(serve: Serve) -> None:
    port = serve()
    with connect(port) as one:
        one.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
        assert answer(one)[0] == 200
        one.sendall(b"a: " + b"b" * 2 * SMALL.max_header_bytes)
        assert one.recv(65_536) == b""


def test_slow_headers_and_bodies_are_408(serve: Serve, mine: dict[str, str]) -> None:
    port = serve()
    token = mine["Authorization"].encode()
    body = HEAD + b"Content-Length: 9000\r\nAuthorization: " + token + b"\r\n\r\n--x\r\n"
    with connect(port) as silent, connect(port) as slow_head, connect(port) as slow_body:
        slow_head.sendall(b"GET /livez HTTP/1.1\r\n")
        slow_body.sendall(body)
        for _ in range(12):
            for one, piece in ((slow_head, b"a: b\r\n"), (slow_body, b"-")):
                with suppress(ConnectionError):
                    one.sendall(piece)
            time.sleep(0.3)
        for one in (silent, slow_head, slow_body):
            status, problem = answer(one)
            assert (status, problem["type"]) == (408, "urn:rayon:problem:request_timeout")
            until(lambda one=one: is_closed(one), 8, "the connection is closed")  # type: ignore[misc]


def test_idle_connection_may_send_another_request_later(serve: Serve) -> None:
    port = serve()
    with connect(port) as one:
        for pause in (0, 3.5):
            time.sleep(pause)
            one.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert answer(one)[0] == 200


def test_line_breaks_do_not_keep_a_connection_open(serve: Serve) -> None:
    port = serve()
    with connect(port) as one:
        one.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer(one)[0] == 200
        for _ in range(12):
            try:
                one.sendall(b"\r\n")
            except ConnectionError:
                break
            time.sleep(0.3)
        until(lambda: is_closed(one), 8, "the connection is closed")


def test_upload_of_a_stranger_is_answered_and_closed(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_server, "REST_SECONDS", 0.5)
    port = serve()
    with connect(port) as one:
        one.sendall(HEAD + b"Content-Length: 30000\r\n\r\n--x\r\n")
        assert answer(one)[0] == 401
        until(lambda: is_closed(one), 8, "the connection is closed")


def test_connection_serves_the_next_request_after_a_refused_body(serve: Serve) -> None:
    port = serve()
    with connect(port) as one:
        one.sendall(HEAD + b"Content-Length: 30000\r\n\r\n")
        assert answer(one)[0] == 401
        one.sendall(b"a" * 30_000 + b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer(one)[0] == 200


def test_upload_just_fast_enough_is_stored(serve: Serve, api: Api) -> None:
    port = serve()
    headers = {**api.sign(api.user(Role.CLIENT)), "Content-Type": "multipart/form-data; boundary=x"}
    row = b"designation,description\r\n" + b"Coussin rouge,\r\n" * 15

    def pieces() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="products"; filename="a.csv"\r\n\r\n'
        yield row
        for _ in range(15):
            time.sleep(0.4)
            yield b" " * 1_000
        yield b"\r\n--x--\r\n"

    answered = httpx.post(
        f"http://127.0.0.1:{port}/v1/catalogs", headers=headers, content=pieces(), timeout=30
    )
    assert answered.status_code == 202, answered.text


def test_download_to_a_slow_reader_arrives_whole(serve: Serve) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(400):
            body = b"x" * 65_536
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body"})

    port = serve(app=app)
    read = 0
    with httpx.stream("GET", f"http://127.0.0.1:{port}/", timeout=30) as response:
        for number, piece in enumerate(response.iter_raw(1_000_000)):
            read += len(piece)
            if number < 5:
                time.sleep(0.7)
    assert read == 400 * 65_536


def test_client_that_reads_nothing_is_cut_off(serve: Serve) -> None:
    ended = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(400):
            body = b"x" * 65_536
            await send({"type": "http.response.body", "body": body, "more_body": True})
        ended.set()

    port = serve(SMALL.model_copy(update={"send_seconds": 1.0}), app=app)
    with connect(port) as one:
        one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert ended.wait(15)


def test_many_pipelined_requests_are_refused(serve: Serve) -> None:
    port = serve()
    with connect(port) as one:
        one.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" * 2_000)
        until(lambda: is_closed(one) or one.recv(65_536) == b"", 10, "the connection is closed")
    assert is_alive(port)
