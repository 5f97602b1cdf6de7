"""A queue for tasks on request."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from shared.schedule import attempt


class Requests:
    """Runs named requests one at a time, merging equal ones that wait.

    A request for a name that is already waiting is dropped. A request for a name that is running
    runs once more, because the data may have changed since that run began.

    Args:
        act: Handles a request.
        task: Name in the metrics.
        stopping: Once set, waiting requests are dropped.
    """

    def __init__(self, act: Callable[[str], object], task: str, stopping: threading.Event) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="requests")
        self._act = act
        self._task = task
        self._stopping = stopping
        self._lock = threading.Lock()
        self._waiting: set[str] = set()

    def submit(self, name: str) -> None:
        """Queue a request unless an equal one is waiting."""
        with self._lock:
            if name in self._waiting:
                return
            self._waiting.add(name)
        self._thread.submit(attempt(self._task, lambda: self._run(name)))

    def join(self) -> None:
        """Accept no further request, and wait for the others."""
        self._thread.shutdown()

    def _run(self, name: str) -> None:
        with self._lock:
            self._waiting.discard(name)
        if not self._stopping.is_set():
            self._act(name)
