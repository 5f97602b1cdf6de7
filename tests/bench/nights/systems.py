"""The systems of a run, one after the other, each with its faults."""

import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.bench.nights import clock
from tests.bench.nights.databases import POSTGRES, SQLITE
from tests.bench.nights.fault import Fault, Skipped
from tests.bench.nights.faults import CLOCK, FAULTS, FOREIGN, IPV6, chosen
from tests.bench.nights.night import night
from tests.bench.nights.outcome import Outcome
from tests.bench.nights.starts import foreign_folders
from tests.bench.nights.trial import ERRORS, tried, whole

BOTH = "both"


@dataclass(frozen=True)
class Plan:
    """Version, databases and faults to try.

    Attributes:
        code: Name of the version in the table.
        checkout: Root of its code.
        database: `sqlite`, `postgres` or `both`.
        seconds: Length of a fault that lasts.
        only: Names of the faults; all without names.
    """

    code: str
    checkout: Path
    database: str
    seconds: float
    only: frozenset[str]


def all_systems(plan: Plan) -> Iterator[Outcome]:
    """Yield the outcome of each fault of a plan."""
    databases = (SQLITE, POSTGRES) if plan.database == BOTH else (plan.database,)
    for name in databases:
        faults = [one for one in chosen(FAULTS, plan.only) if name in one.databases]
        yield from _system(plan, name, faults)
    if SQLITE in databases:
        yield from _system(plan, SQLITE, chosen([IPV6], plan.only), host="::1")
        yield from _stepping(plan, chosen([CLOCK], plan.only))
        if not plan.only or FOREIGN in plan.only:
            yield from foreign_folders(plan.code, plan.checkout)


def _stepping(plan: Plan, faults: Sequence[Fault]) -> Iterator[Outcome]:
    with tempfile.TemporaryDirectory(prefix="rayon-night-") as folder:
        try:
            settings = clock.settings(Path(folder))
        except Skipped as skipped:
            yield from (
                Outcome(plan.code, SQLITE, one.name, skipped=str(skipped)) for one in faults
            )
            return
        yield from _system(plan, SQLITE, faults, settings=settings)


def _system(
    plan: Plan,
    name: str,
    faults: Sequence[Fault],
    host: str = "127.0.0.1",
    settings: Mapping[str, str] | None = None,
) -> Iterator[Outcome]:
    """Yield the outcomes of one system; the faults left over when it cannot go on are missed."""
    left = list(faults)
    if not left:
        return
    try:
        with night(name, plan.checkout, plan.seconds, host, settings) as system:
            while left:
                yield tried(plan.code, system, left[0])
                left.pop(0)
            if len(faults) > 1:
                yield whole(plan.code, system)
    except (*ERRORS, pytest.fail.Exception) as error:
        traceback.print_exc()
        reason = str(error).strip().splitlines()[-1][:120] if str(error) else repr(error)
        print(f"  {name}: {reason}", file=sys.stderr, flush=True)
        for fault in left:
            yield Outcome(
                plan.code,
                name,
                fault.name,
                needs_person=True,
                missed=["broken off"],
                notes=[reason],
            )
