"""Grouped calls: requests that arrive during a call share the next one, and its thread.

A thread for each request, with a query of its own, costs more than most queries. A request without
concurrent ones is answered at once.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from anyio import CapacityLimiter, to_thread

Request = TypeVar("Request")
Result = TypeVar("Result")


@dataclass
class _Queue(Generic[Request, Result]):
    """Requests of one event loop, and the task that answers them."""

    waiting: deque[tuple[Request, "asyncio.Future[Result]"]] = field(default_factory=deque)
    task: "asyncio.Task[None] | None" = None
    #: A thread of its own: a call that hangs takes none from other requests.
    thread: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(1))


class GroupedCalls(Generic[Request, Result]):
    """Answers concurrent requests with one call of a function at a time. For event loops only.

    Args:
        answer: Returns the result or error of each request, in the same order. Runs in a thread,
            in an empty context. If it raises an exception, it is the error of all of them.
        most: Maximum number of requests per call.
    """

    def __init__(
        self, answer: Callable[[Sequence[Request]], Sequence[Result | Exception]], most: int
    ) -> None:
        self._answer = answer
        self._most = most
        # A test client has an event loop for each of its requests.
        self._queues: WeakKeyDictionary[asyncio.AbstractEventLoop, _Queue[Request, Result]] = (
            WeakKeyDictionary()
        )

    @property
    def waiting(self) -> int:
        """Number of requests that wait for a call."""
        return sum(len(queue.waiting) for queue in list(self._queues.values()))

    async def of(self, request: Request) -> Result:
        """Return the result of a request.

        Raises:
            Exception: The error that `answer` returned or raised for this request.
        """
        loop = asyncio.get_running_loop()
        queue = self._queues.get(loop)
        if queue is None:
            queue = self._queues[loop] = _Queue()
        future: asyncio.Future[Result] = loop.create_future()
        queue.waiting.append((request, future))
        if queue.task is None:
            # The context of the first request, such as its trace, is not that of the others.
            queue.task = loop.create_task(self._run(queue), context=Context())
        return await future

    async def _run(self, queue: _Queue[Request, Result]) -> None:
        try:
            while queue.waiting:
                await self._answer_next(queue)
        finally:
            queue.task = None

    async def _answer_next(self, queue: _Queue[Request, Result]) -> None:
        count = min(self._most, len(queue.waiting))
        entries = [queue.waiting.popleft() for _ in range(count)]
        # A future is cancelled with its request.
        entries = [(request, future) for request, future in entries if not future.done()]
        if not entries:
            return
        requests = [request for request, _ in entries]
        outcomes: Sequence[Result | Exception]
        try:
            outcomes = await to_thread.run_sync(self._answer, requests, limiter=queue.thread)
        except Exception as error:
            outcomes = [error] * len(entries)
        for (_, future), outcome in zip(entries, outcomes, strict=True):
            if future.done():
                continue
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
