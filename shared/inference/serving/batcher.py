"""Micro-batching: concurrent requests are joined into one model call."""

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

#: Longest wait of `close` for the last batch.
CLOSE_SECONDS = 30.0

Item = TypeVar("Item")


@dataclass
class _Request(Generic[Item]):
    items: Sequence[Item]
    answer: Future[NDArray[np.float32]] = field(default_factory=Future)


class Batcher(Generic[Item]):
    """Queue in front of a model, with one thread per concurrent model call.

    Args:
        score: Scores a batch, shape `(batch, classes)`.
        max_batch: Largest number of items in one model call.
        max_wait_seconds: How long a batch waits for further requests if the one before it had
            several, or if others wait already. On an idle system a request never waits.
        calls: How many model calls run at once.
    """

    def __init__(
        self,
        score: Callable[[Sequence[Item]], NDArray[np.float32]],
        *,
        max_batch: int,
        max_wait_seconds: float,
        calls: int = 1,
    ) -> None:
        self._score = score
        self._max_batch = max_batch
        self._max_wait_seconds = max_wait_seconds
        self._requests: queue.Queue[_Request[Item] | None] = queue.Queue()
        self._threads = [
            threading.Thread(target=self._run, name="batcher", daemon=True) for _ in range(calls)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, items: Sequence[Item]) -> NDArray[np.float32]:
        """Score items in a batch with other waiting requests; block until they are scored.

        Returns:
            What the model makes of each, shape `(len(items), classes)`.

        Raises:
            Exception: Whatever the model raised for these items.
        """
        request = _Request(items)
        self._requests.put(request)
        return request.answer.result()

    def close(self) -> None:
        """Score everything submitted so far, then stop."""
        for _ in self._threads:
            self._requests.put(None)
        for thread in self._threads:
            thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        has_company = False
        while (first := self._requests.get()) is not None:
            requests, is_last = self._gather(first, has_company)
            has_company = len(requests) > 1
            self._answer(requests)
            if is_last:
                return

    def _gather(
        self, first: _Request[Item], has_company: bool
    ) -> tuple[list[_Request[Item]], bool]:
        """Return a batch, and True if it is the last one.

        Args:
            first: Its first request.
            has_company: True if requests came together before, so that more are to be expected.
        """
        requests, size = [first], len(first.items)
        while size < self._max_batch:
            try:
                if has_company or len(requests) > 1:
                    request = self._requests.get(timeout=self._max_wait_seconds)
                else:
                    request = self._requests.get_nowait()
            except queue.Empty:
                break
            if request is None:
                return requests, True
            requests.append(request)
            size += len(request.items)
        return requests, False

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
            request.answer.set_result(scores[position : position + len(request.items)])
            position += len(request.items)

    def _answer_alone(self, requests: list[_Request[Item]], error: Exception) -> None:
        """Score requests one by one, because the item at fault belongs to only one of them."""
        if len(requests) == 1:
            requests[0].answer.set_exception(error)
            return
        for request in requests:
            self._answer([request])
