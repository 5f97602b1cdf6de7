"""Accounts of jobs: what was sent, and what the database has of it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.bench.nights.traffic import UNANSWERED, Submission

FINAL = {"done", "failed", "cancelled"}


@dataclass(frozen=True)
class Row:
    """Job in the database."""

    id: str
    title: str
    status: str
    error: str
    degraded: str
    answer: Any


Rows = Mapping[str, Sequence[Row]]


@dataclass(frozen=True)
class Account:
    """Counts of the submissions of one fault.

    Attributes:
        sent: Submissions, catalogs included.
        accepted: Those answered 202.
        refused: Those answered otherwise, by status.
        unanswered: Those without a response, even if they were sent again later.
        jobs: Jobs of the accepted submissions: one for each row of a catalog.
        lost: Accepted jobs without a row, and those that are not final.
        doubled: Titles with two jobs.
    """

    sent: int = 0
    accepted: int = 0
    refused: Counter[int] = field(default_factory=Counter)
    unanswered: int = 0
    jobs: int = 0
    done: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    degraded: int = 0
    lost: int = 0
    doubled: int = 0


def by_title(rows: Iterable[Row]) -> Rows:
    """Group rows by the title of their product."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.title].append(row)
    return found


def account(sent: Sequence[Submission], rows: Rows) -> Account:
    """Compare submissions with the database."""
    accepted = [one for one in sent if one.is_accepted]
    titles = [title for one in accepted for title in one.titles]
    jobs = [row for title in titles for row in rows.get(title, ())]
    statuses = Counter(row.status for row in jobs)
    return Account(
        sent=len(sent),
        accepted=len(accepted),
        refused=Counter(
            one.status for one in sent if not one.is_accepted and one.status != UNANSWERED
        ),
        unanswered=sum(one.was_unanswered or one.status == UNANSWERED for one in sent),
        jobs=len(titles),
        done=statuses["done"],
        failed=Counter(row.error for row in jobs if row.status in ("failed", "cancelled")),
        degraded=sum(bool(row.degraded) for row in jobs),
        lost=sum(title not in rows for title in titles) + statuses["queued"],
        doubled=sum(len(rows.get(title, ())) > 1 for one in sent for title in one.titles),
    )


def unfinished(sent: Sequence[Submission], rows: Rows) -> list[str]:
    """Return the titles of accepted jobs that are not final."""
    return [
        title
        for one in sent
        if one.is_accepted
        for title in one.titles
        if not any(row.status in FINAL for row in rows.get(title, ()))
    ]


def changed(before: Rows, after: Rows) -> list[str]:
    """Return the titles whose answer was final and is another one now."""
    return [
        title
        for title, rows in before.items()
        for row in rows
        if row.status in FINAL and row not in after.get(title, ())
    ]
