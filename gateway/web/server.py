"""The HTTP/1.1 protocol of the gateway: uvicorn's, with limits on headers, time and connections.

Uvicorn limits only the time of idle connections. A client that sends slowly or without end is
refused here, before its request reaches the application.
"""

import asyncio
import socket
from collections.abc import Collection
from functools import partial
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gateway.settings import ConnectionSettings
from gateway.web.connections import Connections
from gateway.web.error_handlers import RETRY_AFTER_SECONDS, problem

#: Time in which the rest of a refused request is read and dropped. A connection that is closed with
#: unread bytes is reset, and the client may lose the response.
REST_SECONDS = 3.0
#: Requests of one connection that wait for the response to an earlier one.
MAX_PIPELINED = 16
_TITLES = {
    400: ("Malformed request", "malformed_request"),
    408: ("Request timeout", "request_timeout"),
    431: ("Request header fields too large", "headers_too_large"),
    503: ("Temporarily unavailable", "unavailable"),
}


class _TooLargeHeadersError(Exception):
    """Ends the parsing of a request."""


class LimitedProtocol(HttpToolsProtocol):
    """A connection of one client.

    Args:
        connections: Registry of all connections, with the limits.
        *args: Arguments of uvicorn's protocol, like `**kwargs`.
    """

    def __init__(self, *args: Any, connections: Connections, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._connections = connections
        self._limits = connections.settings
        self._is_refused = False
        #: True until its first request.
        self._is_new = True
        self._head_bytes = 0
        #: Bytes since the parser has last finished a head or found a piece of a body.
        self._unparsed = 0
        #: Since when a head is awaited; `None` after the head.
        self._head_since: float | None = None
        self._window_since, self._window_bytes = 0.0, 0
        self._rest_since: float | None = None
        self._unsent, self._unsent_since = 0, 0.0

    @property
    def is_busy(self) -> bool:
        """True while a request is in progress."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Register the connection, or refuse it at the limit."""
        super().connection_made(transport)
        self.client = _plain(self.client)
        self._head_since = self.loop.time()
        if not self._connections.admit(self, self.client[0] if self.client else None):
            self._turn_away()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._connections.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse the next bytes."""
        if self._is_refused:
            return
        if self._head_since is None and not self.is_busy and self._rest_since is None:
            self._head_since = self.loop.time()
        self._unparsed += len(data)
        super().data_received(data)
        if self._unparsed > self._limits.max_header_bytes:
            self._refuse_headers()

    def on_message_begin(self) -> None:
        """Begin the head of a request."""
        super().on_message_begin()
        self._head_bytes = 0
        self._head_since = self.loop.time()

    def on_url(self, url: bytes) -> None:
        """Count a piece of the URL."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header."""
        self._count(len(name) + len(value) + 4)
        if len(self.headers) >= self._limits.max_headers:
            raise _TooLargeHeadersError
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the request."""
        if len(self.pipeline) >= MAX_PIPELINED:
            raise ValueError(f"Expected at most {MAX_PIPELINED} pipelined requests. Received: more")
        self._unparsed, self._head_since = 0, None
        self._is_new = False
        self._window_since, self._window_bytes = self.loop.time(), 0
        super().on_headers_complete()
        self._connections.set_busy(self)

    def on_body(self, body: bytes) -> None:
        """Count a piece of the body."""
        self._unparsed = 0
        self._window_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request."""
        self._unparsed = 0
        if self._rest_since is not None:
            self._rest_since, self._head_since = None, self.loop.time()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, after the rest of this one if it was answered early."""
        super().on_response_complete()
        if self.is_busy:
            return
        now = self.loop.time()
        if self.cycle.more_body:
            self._rest_since = now
        if self._head_since is not None:
            self._head_since = now
        self._connections.set_idle(self)

    def send_400_response(self, msg: str) -> None:
        """Refuse a request that cannot be parsed."""
        if self._head_bytes > self._limits.max_header_bytes or self._has_many_headers():
            self._refuse_headers()
        else:
            self._refuse(400, msg)

    def end_idle(self) -> None:
        """End the connection, which waits for a request."""
        if self._is_new:
            # Its first request may be on its way.
            self._turn_away()
        else:
            self.transport.close()

    def close(self) -> None:
        """Close the connection, which was refused."""
        self.transport.close()

    def check(self, now: float) -> None:
        """End the connection if its client is too slow."""
        if self._is_stuck(now):
            self.transport.abort()
        elif self._rest_since is not None:
            if now - self._rest_since > REST_SECONDS:
                self.transport.close()
        elif self.is_busy:
            self._check_body(now)
        elif self._head_since is not None and now - self._head_since > self._limits.header_seconds:
            self._refuse(
                408, f"Expected all headers within {self._limits.header_seconds:g} s. Received: not"
            )

    def _check_body(self, now: float) -> None:
        is_awaited = (
            self.cycle.more_body
            and not self.flow.read_paused
            and not self.cycle.waiting_for_100_continue
        )
        if is_awaited and now - self._window_since < self._limits.body_seconds:
            return
        expected = self._limits.min_body_bytes_per_second * self._limits.body_seconds
        if is_awaited and self._window_bytes < expected:
            self._refuse(
                408,
                f"Expected at least {expected:.0f} bytes of the body in "
                f"{self._limits.body_seconds:g} s. Received: {self._window_bytes}",
            )
        self._window_since, self._window_bytes = now, 0

    def _is_stuck(self, now: float) -> bool:
        """Return True if the client has read nothing of the response for long."""
        unsent = self.transport.get_write_buffer_size()
        if not unsent or unsent != self._unsent:
            self._unsent, self._unsent_since = unsent, now
            return False
        return now - self._unsent_since > self._limits.send_seconds

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._limits.max_header_bytes:
            raise _TooLargeHeadersError

    def _has_many_headers(self) -> bool:
        return self.headers is not None and len(self.headers) >= self._limits.max_headers

    def _refuse_headers(self) -> None:
        self._refuse(
            431,
            f"Expected at most {self._limits.max_header_bytes} bytes and "
            f"{self._limits.max_headers} fields of headers. Received: more",
        )

    def _turn_away(self) -> None:
        self._refuse(503, "Expected fewer open connections. Received: one more")
        self._connections.let_read(self)

    def _refuse(self, status: int, detail: str) -> None:
        """Respond with a problem document, if no response has begun, and end the connection."""
        if self._is_refused:
            return
        self._is_refused = True
        has_begun = self.is_busy and self.cycle.response_started
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if has_begun or self.pipeline:
            self.transport.abort()
            return
        self.flow.resume_reading()
        # A request that was answered early has had its response; its rest is dropped.
        if self._rest_since is None:
            self.transport.write(_refusal(status, detail))
            self._rest_since = self.loop.time()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._connections.set_idle(self)


def limited_protocol(
    settings: ConnectionSettings, trusted_proxies: Collection[str]
) -> type[asyncio.Protocol]:
    """Return the protocol for uvicorn, whose connections share the limits."""
    protocol = partial(LimitedProtocol, connections=Connections(settings, trusted_proxies))
    return cast(type[asyncio.Protocol], protocol)


def listeners(host: str, port: int, backlog: int) -> list[socket.socket] | None:
    """Return a listener for the address `::`, on all addresses of IPv6 and IPv4.

    `None` lets uvicorn listen, which restricts `::` to IPv6.
    """
    if host != "::":
        return None
    both = socket.has_dualstack_ipv6()
    return [
        socket.create_server(
            (host, port), family=socket.AF_INET6, backlog=backlog, dualstack_ipv6=both
        )
    ]


def _plain(client: tuple[str, int] | None) -> tuple[str, int] | None:
    """Return the IPv4 address of a client that a listener for both sees as IPv6."""
    if client is None or not client[0].startswith("::ffff:"):
        return client
    return client[0].removeprefix("::ffff:"), client[1]


def _refusal(status: int, detail: str) -> bytes:
    title, code = _TITLES[status]
    headers = {"Connection": "close", "Cache-Control": "no-store"}
    if status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    response = problem(status, title, detail, code=code, headers=headers)
    lines = [name + b": " + value + b"\r\n" for name, value in response.raw_headers]
    return b"".join([STATUS_LINE[status], *lines, b"\r\n", bytes(response.body)])
