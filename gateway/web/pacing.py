"""ASGI middleware that spreads the start of many requests over passes of the event loop."""

import asyncio
from collections import deque
from weakref import WeakKeyDictionary

from starlette.types import ASGIApp, Receive, Scope, Send

#: Requests that start in one pass of the event loop. Each takes up to a millisecond.
STARTS = 8
#: Health checks, which start at once.
HEALTH = ("/livez", "/readyz")
_Turns = deque["asyncio.Future[None]"]


class Pacing:
    """Starts a few requests in each pass of the event loop, in the order of their arrival.

    Thousands of requests that arrive at once would otherwise all be started before the loop reads
    the next connection, and health checks would wait for seconds.

    Args:
        app: The wrapped application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        # A test client has an event loop for each of its requests.
        self._waiting: WeakKeyDictionary[asyncio.AbstractEventLoop, _Turns] = WeakKeyDictionary()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http" and scope["path"] not in HEALTH:
            await self._turn()
        await self._app(scope, receive, send)

    async def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        waiting = self._waiting.setdefault(loop, deque())
        turn = loop.create_future()
        waiting.append(turn)
        if len(waiting) == 1:
            loop.call_soon(_start, loop, waiting)
        await turn


def _start(loop: asyncio.AbstractEventLoop, waiting: _Turns) -> None:
    for _ in range(min(STARTS, len(waiting))):
        turn = waiting.popleft()
        # It is cancelled if the server stops meanwhile.
        if not turn.done():
            turn.set_result(None)
    if waiting:
        loop.call_soon(_start, loop, waiting)
