"""One fault: its injection, the recovery of the system and the account of the jobs."""

import sys
import time
from dataclasses import dataclass

import httpx
import psutil
import redis
import sqlalchemy.exc
from mlflow.exceptions import MlflowException

from shared.errors import Unavailable
from tests.bench.nights.accounts import Rows, account, changed, unfinished
from tests.bench.nights.fault import Fault, Skipped
from tests.bench.nights.night import PATIENCE_SECONDS, Night
from tests.bench.nights.outcome import Allowed, Outcome

#: Clients send for this long before a fault.
QUIET_SECONDS = 2.0
POLL_SECONDS = 0.25
#: Shortest time of the probes, so that a single slow one is not the 99th percentile.
PROBED_SECONDS = 6.0
#: Errors of an injection that a system in an unexpected state causes.
ERRORS = (
    MlflowException, Unavailable,
    RuntimeError, OSError, KeyError, ValueError, httpx.HTTPError, psutil.Error, redis.RedisError,
    sqlalchemy.exc.SQLAlchemyError,
)  # fmt: skip


@dataclass(frozen=True)
class Recovery:
    """Recovery from a fault.

    Attributes:
        first_seconds: From the end of the fault until a new job was answered.
        all_seconds: Until all jobs were answered that were sent before that.
        until: Monotonic time of the first answer, the end of the account.
    """

    until: float
    first_seconds: float | None
    all_seconds: float | None
    needs_person: bool


def tried(code: str, night: Night, fault: Fault) -> Outcome:
    """Try a fault, wait for the recovery, and return the outcome."""
    time.sleep(QUIET_SECONDS)
    before = _rows(night)
    began, skipped = time.monotonic(), ""
    try:
        night.traffic.catalog()
        with fault.inject(night):
            time.sleep(fault.seconds * night.fault_seconds)
    except Skipped as reason:
        skipped = str(reason)
    except ERRORS as error:
        night.missed.append(f"broken off: {error!r:.120}")
    ended = night.ended or time.monotonic()
    recovery = recovered(night, began, ended)
    time.sleep(max(0.0, began + PROBED_SECONDS - time.monotonic()))
    outcome = Outcome(
        code=code,
        database=night.database.name,
        fault=fault.name,
        allowed=fault.allowed,
        account=account(night.traffic.between(began, recovery.until), after := _rows(night)),
        probes=night.prober.probes(began, max(recovery.until, began + PROBED_SECONDS)),
        accept_seconds=_accept_seconds(night, began, ended if fault.seconds else recovery.until),
        first_seconds=recovery.first_seconds,
        all_seconds=recovery.all_seconds,
        needs_person=recovery.needs_person,
        changed=len(changed(before, after)),
        notes=tuple(night.notes),
        missed=tuple(night.missed),
        skipped=skipped,
    )
    night.notes.clear()
    night.missed.clear()
    night.ended = None
    verdict = skipped or ", ".join(outcome.faults()) or "held"
    print(f"  {night.database.name} {fault.name}: {verdict}", file=sys.stderr, flush=True)
    return outcome


def whole(code: str, night: Night) -> Outcome:
    """Return the account of all jobs of a system, those between the faults included."""
    until = time.monotonic()
    _wait(night, 0.0, until)
    return Outcome(
        code=code,
        database=night.database.name,
        fault="(all of these)",
        allowed=Allowed(to_close=True, to_refuse=True, to_hang_up=True),
        account=account(night.traffic.between(0.0, until), _rows(night)),
    )


def recovered(night: Night, began: float, ended: float) -> Recovery:
    """Wait for the recovery; after `PATIENCE_SECONDS` start the system as a person would."""
    # A fault may compare stores for minutes after its end.
    first, deadline = None, time.monotonic() + PATIENCE_SECONDS
    while night.system.is_running and time.monotonic() < deadline:
        rows = _rows(night)
        if first is None and _answers(night, ended, rows) and night.ready():
            first = time.monotonic() - ended
        if first is not None and not _is_working(night, began, ended + first, rows):
            return Recovery(ended + first, first, time.monotonic() - ended, needs_person=False)
        time.sleep(POLL_SECONDS)
    until = ended + first if first is not None else time.monotonic()
    if first is None:
        night.notes.append("started by hand" if night.system.is_running else "had stopped")
        night.start_again()
        _wait(night, began, until)
    return Recovery(until, first, None, needs_person=first is None)


def _answers(night: Night, ended: float, rows: Rows) -> bool:
    """Return True if a job that was sent after the fault is done."""
    sent = night.traffic.between(ended, time.monotonic())
    return any(one.is_accepted and not unfinished([one], rows) for one in sent)


def _is_working(night: Night, began: float, until: float, rows: Rows) -> bool:
    """Return True while submissions have no response, or accepted jobs no answer."""
    if night.traffic.is_waiting(until):
        return True
    sent = night.traffic.between(began, until)
    for one in sent:
        if not one.status and not one.was_unanswered:
            night.traffic.send_again(one)
            return True
    return bool(unfinished(sent, rows))


def _wait(night: Night, began: float, until: float) -> None:
    """Wait until all jobs of a window are answered, or `PATIENCE_SECONDS` have passed."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and _is_working(night, began, until, _rows(night)):
        time.sleep(POLL_SECONDS)


def _rows(night: Night) -> Rows:
    try:
        return night.database.rows()
    except sqlalchemy.exc.SQLAlchemyError:
        # It is busy, or starts again.
        return {}


def _accept_seconds(night: Night, began: float, ended: float) -> tuple[float, ...]:
    sent = night.traffic.between(began, ended)
    return tuple(
        one.seconds
        for one in sent
        if one.is_accepted and not one.is_catalog and not one.was_unanswered
    )
