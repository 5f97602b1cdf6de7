"""Quotas of a user: jobs in flight, rows per day, and stored bytes.

Counts are cached for a second per user, so a gateway may accept too many jobs for a second. Stored
bytes are counted every half minute; in between, a gateway adds what it accepts itself.
"""

import threading
from dataclasses import dataclass
from datetime import timedelta

from cachetools import TTLCache
from sqlalchemy import func, select

from gateway.identity.principal import Principal
from gateway.jobs.stored_bytes import stored_bytes
from gateway.settings import RateSettings
from gateway.web.rates import Rate, Rates, rate_exceeded
from shared.contracts import Lane
from shared.db.models import NOT_DONE, Catalog, Job, JobStatus, now
from shared.db.session import UnitOfWork
from shared.errors import Limited

DAY = timedelta(days=1)
#: Maximum age of a cached count, in seconds.
FRESH_SECONDS = 1.0
STORED_FRESH_SECONDS = 30.0
#: Maximum number of users with cached counts.
MOST_USERS = 10_000
#: `Retry-After` at the limit of jobs in flight, in seconds.
IN_FLIGHT_WAIT_SECONDS = 5
#: `Retry-After` at the limit of stored bytes, in seconds: the interval of clean-ups.
STORED_WAIT_SECONDS = 3600


@dataclass
class _Stored:
    """Bytes of a user in the storage, as counted and with what was accepted since."""

    bytes: int


class Quotas:
    """Enforces quotas of jobs in flight and rows per day."""

    def __init__(self, rates: Rates, settings: RateSettings, unit_of_work: UnitOfWork) -> None:
        self._rates = rates
        self._in_flight = settings.jobs_in_flight
        self._rows = Rate("rows", settings.rows_per_day, int(DAY.total_seconds()))
        self._most_stored = settings.stored_bytes
        self._unit_of_work = unit_of_work
        self._counts: TTLCache[str, tuple[int, int]] = TTLCache(MOST_USERS, FRESH_SECONDS)
        self._stored: TTLCache[str, _Stored] = TTLCache(MOST_USERS, STORED_FRESH_SECONDS)
        self._lock = threading.Lock()

    def take_job(self, principal: Principal) -> None:
        """Count a single job before it is accepted.

        Raises:
            Limited: The user has too many jobs in flight, or has used up the daily rows.
            Unavailable: The database does not answer.
        """
        in_flight, of_catalogs = self._count(principal.id)
        if in_flight >= self._in_flight:
            raise Limited(
                f"Expected at most {self._in_flight} jobs at once. Received: {in_flight}",
                retry_after_seconds=IN_FLIGHT_WAIT_SECONDS,
            )
        quota = self._rates.count(self._rows, principal.id)
        if quota.remaining < of_catalogs:
            raise rate_exceeded(quota)

    def require_rows(self, principal: Principal) -> None:
        """Check that the daily quota is not used up. Raises `Limited`, `Unavailable`."""
        quota = self._rates.quota(self._rows, principal.id)
        if quota.remaining <= self._count(principal.id)[1]:
            raise rate_exceeded(quota)

    def require_bytes(self, principal: Principal, size: int) -> None:
        """Count an upload of some bytes before it is stored.

        Raises:
            Limited: The user's images, catalogs and datasets would exceed the quota.
            Unavailable: The database does not answer.
        """
        with self._lock:
            known = self._stored.get(principal.id)
        if known is None:
            with self._unit_of_work.reading() as session:
                known = _Stored(stored_bytes(session, principal.id))
            with self._lock:
                self._stored[principal.id] = known
        with self._lock:
            if known.bytes + size > self._most_stored:
                raise Limited(
                    f"Expected at most {self._most_stored} stored bytes. Received: {size} more "
                    f"than the {known.bytes} that are stored. Cancelled jobs and catalogs, deleted "
                    "datasets and expired data do not count",
                    retry_after_seconds=STORED_WAIT_SECONDS,
                )
            known.bytes += size

    def in_flight(self, user_id: str) -> int:
        """Return the number of unfinished single jobs of a user."""
        return self._count(user_id)[0]

    def _count(self, user_id: str) -> tuple[int, int]:
        """Return the number of single jobs in flight and of catalog rows in the last 24 hours."""
        with self._lock:
            known = self._counts.get(user_id)
        if known is None:
            known = self._look_up(user_id)
            with self._lock:
                self._counts[user_id] = known
        return known

    def _look_up(self, user_id: str) -> tuple[int, int]:
        waiting = select(func.count()).where(
            # Read the index of unfinished jobs, not all jobs of the user.
            NOT_DONE,
            Job.status == JobStatus.QUEUED.value,
            Job.user_id == user_id,
            Job.lane == Lane.INTERACTIVE.value,
        )
        rows = select(func.coalesce(func.sum(Catalog.rows), 0)).where(
            Catalog.user_id == user_id, Catalog.created_at > now() - DAY
        )
        with self._unit_of_work.reading() as session:
            return session.scalar(waiting) or 0, int(session.scalar(rows) or 0)
