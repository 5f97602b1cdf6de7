"""Micro-batching: concurrent requests are joined into one model call."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

#: Longest wait of `close` for the last batch.
CLOSE_SECONDS = 30.0

Item = TypeVar("Item")
Scores = NDArray[np.float32]


@dataclass
class _Request(Generic[Item]):
    """Items to score.

    Attributes:
        outcome: Their scores, or `None` once the thread of this request is to make the next call.
    """

    items: Sequence[Item]
    outcome: Future[Scores | None] = field(default_factory=Future)


class Batcher(Generic[Item]):
    """Queue in front of a model.

    A model call runs in the thread of one of its requests, so that a request on an idle system
    needs no other thread. When the call ends, a request that waits makes the next one (the
    leader/followers pattern; Schmidt et al., "Pattern-Oriented Software Architecture", vol. 2).

    Args:
        score: Scores a batch, shape `(batch, classes)`.
        max_batch: Largest number of items in one model call.
        max_wait_seconds: How long a batch waits for further requests if the one before it had
            several, or if others wait already. On an idle system a request never waits.
        calls: How many model calls run at once.
    """

    def __init__(
        self,
        score: Callable[[Sequence[Item]], Scores],
        *,
        max_batch: int,
        max_wait_seconds: float,
        calls: int = 1,
    ) -> None:
        self._score = score
        self._max_batch = max_batch
        self._max_wait_seconds = max_wait_seconds
        self._calls = self._free = calls
        #: True while a thread that may call the model gathers its batch; the next one waits for it.
        self._is_gathering = False
        #: True if the requests of the last batch came together, so that more are to be expected.
        self._has_company = False
        self._requests: deque[_Request[Item]] = deque()
        #: Notified of new requests and of free calls.
        self._changed = threading.Condition()

    @property
    def waiting(self) -> int:
        """Number of requests that wait for a call."""
        return len(self._requests)

    def submit(self, items: Sequence[Item]) -> Scores:
        """Score items in a batch with other waiting requests; block until they are scored.

        Returns:
            What the model makes of each, shape `(len(items), classes)`.

        Raises:
            Exception: Whatever the model raised for these items.
        """
        request = _Request(items)
        scores = None if self._may_call(request) else request.outcome.result()
        if scores is not None:
            return scores
        # A new outcome: the first one has told this thread to make the call.
        request.outcome = Future()
        try:
            self._answer(self._gather(request))
        finally:
            self._end_call()
        return cast(Scores, request.outcome.result())

    def close(self) -> None:
        """Wait until everything submitted so far is scored."""
        with self._changed:
            self._changed.wait_for(lambda: self._free == self._calls, CLOSE_SECONDS)

    def _may_call(self, request: _Request[Item]) -> bool:
        """Return True if the thread of a request is to call the model now; else it waits."""
        with self._changed:
            if self._free and not self._is_gathering:
                self._free -= 1
                self._is_gathering = True
                return True
            self._requests.append(request)
            self._changed.notify_all()
            return False

    def _end_call(self) -> None:
        with self._changed:
            self._free += 1
            self._start_next()
            self._changed.notify_all()

    def _start_next(self) -> None:
        """Let a request that waits make the next call, if one is free."""
        if self._free and self._requests and not self._is_gathering:
            self._free -= 1
            self._is_gathering = True
            self._requests.popleft().outcome.set_result(None)

    def _gather(self, first: _Request[Item]) -> list[_Request[Item]]:
        """Return a batch that begins with a request."""
        requests, size = [first], len(first.items)
        with self._changed:
            while size < self._max_batch:
                waits = self._has_company or len(requests) > 1
                if not self._requests and not (
                    waits and self._changed.wait_for(self._requests.__len__, self._max_wait_seconds)
                ):
                    break
                requests.append(self._requests.popleft())
                size += len(requests[-1].items)
            self._is_gathering = False
            self._has_company = len(requests) > 1
            self._start_next()
        return requests

    def _answer(self, requests: list[_Request[Item]]) -> None:
        items = [item for request in requests for item in request.items]
        try:
            scores = np.concatenate(
                [
                    self._score(items[start : start + self._max_batch])
                    for start in range(0, len(items), self._max_batch)
                ]
            )
        except Exception as error:
            self._answer_alone(requests, error)
            return
        position = 0
        for request in requests:
            request.outcome.set_result(scores[position : position + len(request.items)])
            position += len(request.items)

    def _answer_alone(self, requests: list[_Request[Item]], error: Exception) -> None:
        """Score requests one by one, because the item at fault belongs to only one of them."""
        if len(requests) == 1:
            requests[0].outcome.set_exception(error)
            return
        for request in requests:
            self._answer([request])
