"""Sending of stored jobs to the workers, beside the transactions that store them.

Redis may take long or hang, and neither the next transaction nor the response to a client waits for
it: a job counts as accepted once it is committed. What cannot be sent is left to the sweeper, as is
what waits here when the process is killed.
"""

import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

import structlog

from gateway.jobs.messages import messages_of
from shared.contracts import Message
from shared.db.models import Job
from shared.db.session import defer
from shared.errors import Unavailable
from shared.progress import PROGRESS

log = structlog.get_logger(__name__)

#: Maximum number of jobs per message. A worker answers the jobs of a message together, so a larger
#: group would delay the first one.
LARGEST_GROUP = 16
#: Transactions whose jobs wait to be sent. Beyond it the next transaction waits for this time, in
#: seconds, so that jobs are not accepted faster than they are sent; then its jobs are deferred.
MOST_WAITING, FULL_SECONDS = 256, 0.25
#: Least time between two messages: this share of the time that the last answer took, but no more
#: than this many seconds. While workers are busy, jobs that are sent sooner only wait there, and
#: jobs that share a message cost less.
SHARE_OF_WAIT, LONGEST_LINGER_SECONDS = 0.1, 0.02
#: Time for which sending is tried again after it has failed, and the pause between two tries, in
#: seconds. The sweeper sends deferred jobs only once their lease is over.
PATIENCE_SECONDS, RETRY_SECONDS = 5.0, 0.1


class Outbox:
    """Sends the messages of stored jobs, in a thread of its own once it is started.

    Args:
        publish: Sends one message, or raises `Unavailable`.
    """

    def __init__(self, publish: Callable[[Message], None]) -> None:
        self._publish = publish
        self._waiting: queue.Queue[Sequence[Job] | None] = queue.Queue(MOST_WAITING)
        self._thread: threading.Thread | None = None
        #: False while Redis does not answer.
        self._is_sending = True
        self._is_ended = False
        #: Time that the last answer took, in seconds.
        self._wait_seconds = 0.0
        #: Time of the last message.
        self._sent_at = float("-inf")

    @property
    def linger_seconds(self) -> float:
        """Shortest time between two messages, in seconds."""
        return min(SHARE_OF_WAIT * self._wait_seconds, LONGEST_LINGER_SECONDS)

    def observe_wait(self, seconds: float) -> None:
        """Learn how long the answer to a text took, in seconds."""
        self._wait_seconds = seconds

    def start(self) -> None:
        """Send in a thread from now on."""
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Send what waits, for at most this many seconds, and end the thread."""
        if self._thread is not None:
            with suppress(queue.Full):
                self._waiting.put(None, timeout=seconds)
            self._thread.join(seconds)

    def put(self, jobs: Sequence[Job]) -> None:
        """Send the messages of committed jobs soon, or at once if no thread was started."""
        if self._thread is None or not jobs:
            self._send(_messages(jobs), patience_seconds=0.0)
            return
        try:
            self._waiting.put(jobs, timeout=FULL_SECONDS if self._is_sending else 0.001)
        except queue.Full:
            defer(_messages(jobs), "The outbox is full")

    def _run(self) -> None:
        while not self._is_ended:
            jobs = self._next()
            # After a long failure each job has one try, until one succeeds.
            patience_seconds = PATIENCE_SECONDS if self._is_sending else 0.0
            try:
                with PROGRESS.watched("outbox"):
                    self._send(_messages(jobs), patience_seconds)
                self._sent_at = time.monotonic()
            except Exception:
                # The thread must not end. The jobs are stored, so the sweeper sends them.
                log.exception("publish_failed")

    def _next(self) -> list[Job]:
        """Return jobs of one or more transactions, which share messages."""
        jobs: list[Job] = []
        while len(jobs) < LARGEST_GROUP and not (jobs and self._waiting.empty()):
            group = self._waiting.get()
            if group is None:
                self._is_ended = True
                break
            if not jobs and self._has_room(group):
                self._linger()
            jobs.extend(group)
        return jobs

    def _has_room(self, group: Sequence[Job]) -> bool:
        """Return True if jobs that come within a moment could share the message of a group."""
        is_full = len(group) + self._waiting.qsize() >= LARGEST_GROUP
        return not is_full and not all(job.wants_image for job in group)

    def _linger(self) -> None:
        """Wait for further jobs, if the last message was sent a moment ago."""
        left = self._sent_at + self.linger_seconds - time.monotonic()
        if left > 0:
            time.sleep(left)

    def _send(self, messages: Sequence[Message], patience_seconds: float) -> None:
        until = time.monotonic() + patience_seconds
        for position, message in enumerate(messages):
            while (reason := self._failure(message)) is not None:
                if time.monotonic() >= until:
                    defer(messages[position:], reason)
                    return
                time.sleep(RETRY_SECONDS)

    def _failure(self, message: Message) -> str | None:
        """Send one message; return why it could not be sent."""
        try:
            self._publish(message)
        except Unavailable as error:
            self._is_sending = False
            return error.detail
        self._is_sending = True
        return None


def _messages(jobs: Sequence[Job]) -> list[Message]:
    return [message for group in _groups(jobs) for message in messages_of(group)]


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
