"""Outcome of one fault, its bounds, and the table of all."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.bench.nights.accounts import Account
from tests.bench.nights.prober import BARE, LIVEZ, Probe

#: Seconds of `/livez` at the 99th percentile, in excess of those of a bare endpoint.
LIVEZ_SECONDS = 0.25
#: Seconds from a submission to its 202 while Redis is stopped, in excess of the same.
ACCEPT_SECONDS = 1.0
#: Interval of the probes, for the seconds in which nothing listened.
PROBE_SECONDS = 0.05


@dataclass(frozen=True)
class Allowed:
    """Effects on the clients that a fault may have.

    Attributes:
        to_close: The gateway may refuse connections and answer slowly, because it starts again.
        to_refuse: A submission may be answered 503.
        to_hang_up: A submission may stay unanswered, because the gateway was killed.
        accept_seconds: Limit of the time to a 202, if there is one.
    """

    to_close: bool = False
    to_refuse: bool = False
    to_hang_up: bool = False
    accept_seconds: float | None = None


NOTHING = Allowed()


@dataclass(frozen=True)
class Outcome:
    """Result of one fault for the system and its jobs.

    Attributes:
        code: Version of the code, such as `now`.
        probes: Probes from the start of the fault to the recovery.
        accept_seconds: Times to a 202, sorted.
        first_seconds: From the end of the fault until a new job was answered and `/readyz` was ok.
        all_seconds: Until all accepted jobs were final.
        needs_person: True if it did not recover by itself.
        missed: Bounds of the fault's own that were missed.
        skipped: Why the fault was not tried.
    """

    code: str
    database: str
    fault: str
    allowed: Allowed = NOTHING
    account: Account = field(default_factory=Account)
    probes: Sequence[Probe] = ()
    accept_seconds: Sequence[float] = ()
    first_seconds: float | None = None
    all_seconds: float | None = None
    needs_person: bool = False
    changed: int = 0
    notes: Sequence[str] = ()
    missed: Sequence[str] = ()
    skipped: str = ""

    def faults(self) -> list[str]:
        """Return the bounds that were missed."""
        if self.skipped:
            return []
        account = self.account
        late = percentile(self.accept_seconds, 0.99) - bare_seconds(self.probes)
        limit = self.allowed.accept_seconds
        bounds = {
            "lost": account.lost > 0,
            "doubled": account.doubled + self.changed > 0,
            "failed for good": account.failed.total() > 0,
            "degraded": account.degraded > 0,
            "needs a person": self.needs_person,
            "/livez": not self.allowed.to_close and livez_excess(self.probes) > LIVEZ_SECONDS,
            "/livez refused": not self.allowed.to_close and closed_seconds(self.probes) > 0.5,
            "refused": not self.allowed.to_refuse and account.refused.total() > 0,
            "unanswered": not self.allowed.to_hang_up and account.unanswered > 0,
            "slow 202": limit is not None and late > limit,
        }
        return [name for name, is_missed in bounds.items() if is_missed] + list(self.missed)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of the values does not exceed."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def livez_excess(probes: Sequence[Probe]) -> float:
    """Return the 99th percentile of `/livez` less that of the bare endpoint, in seconds.

    Connections that were refused at once are no slow answers; `closed_seconds` counts them.
    """
    excess = percentile(_seconds(probes, LIVEZ), 0.99) - bare_seconds(probes)
    return excess if excess == excess else 0.0


def bare_seconds(probes: Sequence[Probe]) -> float:
    """Return the 99th percentile of the bare endpoint: what the busy machine takes by itself."""
    seconds = _seconds(probes, BARE)
    return percentile(seconds, 0.99) if seconds else 0.0


def closed_seconds(probes: Sequence[Probe]) -> float:
    """Return the time in which `/livez` refused connections or answered with an error."""
    refused = sum(probe.target == LIVEZ and probe.outcome not in ("ok", "late") for probe in probes)
    return refused * PROBE_SECONDS


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the lines of the table."""
    rows = [HEADER, *(_cells(outcome) for outcome in outcomes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


HEADER = [
    "code", "database", "fault", "sent", "202", "refused", "no answer", "jobs", "done", "failed",
    "lost", "twice", "livez p50/p99/max ms", "bare p99", "down s", "202 p99 s", "first s", "all s",
    "person", "", "note",
]  # fmt: skip


def _cells(one: Outcome) -> list[str]:
    name = [one.code, one.database, one.fault]
    if one.skipped:
        return [*name, *[""] * (len(HEADER) - 5), "skipped", one.skipped]
    account = one.account
    livez = _seconds(one.probes, LIVEZ)
    times = "/".join(_ms(percentile(livez, share)) for share in (0.5, 0.99, 1.0))
    figures = [
        account.sent, account.accepted, _counted(account.refused), account.unanswered,
        account.jobs, account.done, account.failed.total(), account.lost,
        account.doubled + one.changed, times,
        _ms(percentile(_seconds(one.probes, BARE), 0.99)), f"{closed_seconds(one.probes):.1f}",
        _number(percentile(one.accept_seconds, 0.99), 2), _number(one.first_seconds, 1),
        _number(one.all_seconds, 1), int(one.needs_person),
    ]  # fmt: skip
    missed = one.faults()
    verdict = f"MISSED: {', '.join(missed)}" if missed else "held"
    notes = [*one.notes]
    if account.failed:
        notes.append(f"failed: {_counted(account.failed)}")
    if account.degraded:
        notes.append(f"{account.degraded} degraded")
    return [*name, *map(str, figures), verdict, "; ".join(notes)]


def _seconds(probes: Sequence[Probe], target: str) -> list[float]:
    return [
        probe.seconds
        for probe in probes
        if probe.target == target and probe.outcome in ("ok", "late")
    ]


def _counted(counts: Mapping[int, int] | Mapping[str, int]) -> str:
    return ", ".join(f"{number} x {name}" for name, number in counts.items()) or "0"


def _ms(seconds: float) -> str:
    return _number(seconds * 1000, 0)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None or value != value else f"{value:.{digits}f}"
