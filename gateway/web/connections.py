"""The open connections of the gateway, limited in total and for each address."""

import asyncio
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Protocol, Self

from gateway.settings import ConnectionSettings
from shared.service import allow_open_files

#: Seconds between two checks of the open connections.
CHECK_SECONDS = 1.0
#: Files kept for the database, the queue, the storage and uploads.
OTHER_FILES = 256
#: Share of the connections that may wait for jobs; the others are left for requests that end soon.
LONG_POLL_SHARE = 0.75
#: Bounds of the connections that the kernel completes before they are accepted.
LEAST_BACKLOG, MOST_BACKLOG = 64, 2048
#: Refused connections that stay open for this time, in seconds, so that their clients read why.
MOST_REFUSED, READ_SECONDS = 64, 1.0
#: Addresses of one holder: an IPv6 network of this size counts as one address.
IPV6_PREFIX = 64


@dataclass(frozen=True)
class Capacity:
    """Connections that the files of this process suffice for.

    Attributes:
        connections: Open connections.
        long_polls: Requests among them that wait for a job.
        backlog: Connections that wait to be accepted. The event loop accepts all of them before it
            can refuse one, so they must fit too.
    """

    connections: int
    long_polls: int
    backlog: int

    @classmethod
    def of(cls, settings: ConnectionSettings) -> Self:
        """Raise the limit of open files as far as allowed, and divide it."""
        files = allow_open_files()
        connections = min(settings.max_connections, max(1, files - OTHER_FILES))
        backlog = min(MOST_BACKLOG, max(LEAST_BACKLOG, (files - connections) // 4))
        return cls(connections, max(1, int(connections * LONG_POLL_SHARE)), backlog)


class Connection(Protocol):
    """A connection as its registry uses it."""

    def check(self, now: float) -> None:
        """End the connection if its client is too slow."""

    def end_idle(self) -> None:
        """End the connection, which waits for a request."""

    def close(self) -> None:
        """Close the connection, which was refused."""


class Connections:
    """Registry of the open connections. For the event loop only.

    At a limit the connection that has been idle for longest is closed, so that idle ones keep
    nobody out; a new one is refused if all others have a request in progress.

    Args:
        settings: The limits.
        trusted_proxies: Addresses or networks of proxies, which carry the connections of many
            clients, and so have no limit per address. `*` trusts all.
    """

    def __init__(self, settings: ConnectionSettings, trusted_proxies: Collection[str] = ()) -> None:
        self.settings = settings
        self._most = Capacity.of(settings).connections
        self._trusts_all = "*" in trusted_proxies
        self._proxies = [one for name in trusted_proxies for one in _networks(name)]
        self._sources: dict[Connection, str | None] = {}
        self._counts: dict[str, int] = defaultdict(int)
        #: Idle connections, the one that has been idle for longest first.
        self._idle: dict[Connection, None] = {}
        self._idle_of: dict[str, dict[Connection, None]] = defaultdict(dict)
        #: Refused connections whose clients may still read the response, the oldest first.
        self._refused: dict[Connection, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Return the number of open connections."""
        return len(self._sources)

    def admit(self, one: Connection, address: str | None) -> bool:
        """Register a new, idle connection; return False if there is no room for it."""
        source = self._source(address)
        if source is not None and self._counts[source] >= self.settings.max_connections_per_address:
            self._close_first(self._idle_of[source])
            if self._counts[source] >= self.settings.max_connections_per_address:
                return False
        if len(self) >= self._most:
            self._close_first(self._idle)
            if len(self) >= self._most:
                return False
        self._sources[one] = source
        if source is not None:
            self._counts[source] += 1
        self.set_idle(one)
        self._schedule()
        return True

    def set_idle(self, one: Connection) -> None:
        """Note that a connection waits for a request."""
        if one in self._sources:
            self._idle[one] = None
            source = self._sources[one]
            if source is not None:
                self._idle_of[source][one] = None

    def set_busy(self, one: Connection) -> None:
        """Note that a connection has a request in progress."""
        self._idle.pop(one, None)
        source = self._sources.get(one)
        if source is not None:
            self._idle_of[source].pop(one, None)

    def let_read(self, one: Connection) -> None:
        """Leave a refused client a moment to read the response.

        Its request may be on its way, and a connection that is closed before is reset.
        """
        self._refused[one] = None
        if len(self._refused) > MOST_REFUSED:
            next(iter(self._refused)).close()
            self._refused.pop(next(iter(self._refused)))
        asyncio.get_running_loop().call_later(READ_SECONDS, one.close)

    def forget(self, one: Connection) -> None:
        """Remove a connection that is closed."""
        self._refused.pop(one, None)
        self.set_busy(one)
        source = self._sources.pop(one, None)
        if source is not None:
            self._counts[source] -= 1
            if not self._counts[source]:
                del self._counts[source]
                self._idle_of.pop(source, None)

    def _close_first(self, idle: dict[Connection, None]) -> None:
        oldest = next(iter(idle), None)
        if oldest is not None:
            self.forget(oldest)
            oldest.end_idle()

    def _source(self, address: str | None) -> str | None:
        """Return whom a connection counts for; `None` for proxies and local sockets."""
        if address is None or self._trusts_all:
            return None
        parsed = ip_address(address.partition("%")[0])
        if isinstance(parsed, IPv6Address):
            parsed = parsed.ipv4_mapped or parsed
        if any(parsed in proxy for proxy in self._proxies):
            return None
        if isinstance(parsed, IPv6Address):
            return str(ip_network((parsed, IPV6_PREFIX), strict=False))
        return str(parsed)

    def _schedule(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(CHECK_SECONDS, self._check)

    def _check(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for one in tuple(self._sources):
            one.check(now)
        if self._sources:
            self._schedule()


def _networks(name: str) -> list[IPv4Network | IPv6Network]:
    # Uvicorn also accepts names of sockets here, which have no address.
    try:
        return [ip_network(name, strict=False)]
    except ValueError:
        return []
