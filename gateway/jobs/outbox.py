"""Sending of stored jobs to the workers, beside the transactions that store them.

Redis may take long or hang, and neither the next transaction nor the response to a client waits for
it: a job counts as accepted once it is committed. What cannot be sent is left to the sweeper, as is
what waits here when the process is killed.
"""

import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

import structlog

from gateway.jobs.messages import messages_of
from shared import metrics
from shared.contracts import Message
from shared.db.models import Job
from shared.progress import PROGRESS

log = structlog.get_logger(__name__)

#: Maximum number of jobs per message. A worker answers the jobs of a message together, so a larger
#: group would delay the first one.
LARGEST_GROUP = 16
#: Transactions whose jobs wait to be sent. Beyond it the next transaction waits, so that jobs are
#: not accepted faster than they are sent.
MOST_WAITING = 64
#: Longest such wait, in seconds; after it the jobs are left to the sweeper.
FULL_SECONDS = 0.25


class Outbox:
    """Sends the messages of stored jobs, in a thread of its own once it is started.

    Args:
        send: Sends messages, and returns those that could not be sent.
    """

    def __init__(self, send: Callable[[list[Message]], list[Message]]) -> None:
        self._send = send
        self._waiting: queue.Queue[Sequence[Job] | None] = queue.Queue(MOST_WAITING)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Send in a thread from now on."""
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Send what waits, for at most this many seconds, and end the thread."""
        if self._thread is not None:
            self._waiting.put(None, timeout=seconds)
            self._thread.join(seconds)

    def put(self, jobs: Sequence[Job]) -> None:
        """Send the messages of committed jobs soon, or at once if no thread was started."""
        if self._thread is None or not jobs:
            self._publish(jobs)
            return
        try:
            self._waiting.put(jobs, timeout=FULL_SECONDS)
        except queue.Full:
            self._defer(jobs)

    def _run(self) -> None:
        is_running = True
        while is_running:
            waiting = [self._waiting.get()]
            # Jobs of several transactions share messages while sending takes longer than they do.
            while sum(len(jobs or ()) for jobs in waiting) < LARGEST_GROUP:
                try:
                    waiting.append(self._waiting.get_nowait())
                except queue.Empty:
                    break
            is_running = None not in waiting
            jobs = [job for group in waiting if group is not None for job in group]
            try:
                with PROGRESS.watched("outbox"):
                    self._publish(jobs)
            except Exception:
                # The thread must not end. The jobs are stored, so the sweeper sends them.
                log.exception("publish_failed")

    def _publish(self, jobs: Sequence[Job]) -> None:
        self._send([message for group in _groups(jobs) for message in messages_of(group)])

    def _defer(self, jobs: Sequence[Job]) -> None:
        deferred = [message for group in _groups(jobs) for message in messages_of(group)]
        log.warning("publish_deferred", messages=len(deferred), error="the outbox is full")
        for message in deferred:
            metrics.messages_deferred_total.labels(message.topic).inc()


def _groups(jobs: Iterable[Job]) -> Iterator[list[Job]]:
    """Group jobs into messages: by user and release; a job with an image gets its own message."""
    groups: dict[tuple[str, str], list[Job]] = defaultdict(list)
    for job in jobs:
        if job.wants_image:
            yield [job]
        else:
            groups[(job.user_id, job.release)].append(job)
    for group in groups.values():
        for start in range(0, len(group), LARGEST_GROUP):
            yield group[start : start + LARGEST_GROUP]
