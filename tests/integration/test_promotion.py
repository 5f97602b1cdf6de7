"""The ledger is one chain, also when several promote at once."""

import itertools
import threading

from sqlalchemy import select

from shared.db.models import Promotion
from shared.db.session import UnitOfWork
from shared.errors import Conflict
from shared.lifecycle.promotion import promote, roll_back
from tests.support.factories import make_manifest
from tests.support.fakes import FakeReleases

SECONDS = 30


def chain(unit_of_work: UnitOfWork) -> list[tuple[str | None, str]]:
    with unit_of_work.reading() as session:
        lines = session.scalars(select(Promotion).order_by(Promotion.id)).all()
    return [(line.previous_version, line.version) for line in lines]


def at_once(*acts: threading.Thread) -> None:
    for act in acts:
        act.start()
    for act in acts:
        act.join(SECONDS)


def test_promotions_at_once_follow_one_another(unit_of_work: UnitOfWork) -> None:
    # Given a champion with its line, and six releases that somebody wants at the same moment
    registry = FakeReleases()
    registry.manifests |= {str(n): make_manifest(f"release-{n}") for n in range(3, 9)}
    promote(unit_of_work, registry, "2", by="ada", reason="first")
    start = threading.Barrier(6)

    def act(version: str) -> None:
        start.wait()
        promote(unit_of_work, registry, version, by=version, reason="at once")

    at_once(*(threading.Thread(target=act, args=(str(n),)) for n in range(3, 9)))
    # I expect each line to begin where the one before ended, and the last one to serve
    found = chain(unit_of_work)
    assert len(found) == 7
    assert found[0] == ("1", "2")
    served = {line[1]: line[0] for line in found}
    newest = registry.champion()
    order = [newest]
    while (before := served.get(str(order[-1]))) is not None:
        order.append(before)
    assert order[-2:] == ["2", "1"]
    assert len(order) == 8


def test_same_promotion_twice_at_once_writes_one_line(unit_of_work: UnitOfWork) -> None:
    registry = FakeReleases()
    promote(unit_of_work, registry, "1", by="ada", reason="first")
    start = threading.Barrier(4)
    refused: list[Conflict] = []

    def act() -> None:
        start.wait()
        try:
            promote(unit_of_work, registry, "2", by="ada", reason="at once")
        except Conflict as conflict:
            refused.append(conflict)

    at_once(*(threading.Thread(target=act) for _ in range(4)))
    assert chain(unit_of_work) == [(None, "1"), ("1", "2")]
    assert len(refused) == 3


def test_rollbacks_lead_back_and_forth(unit_of_work: UnitOfWork) -> None:
    registry = FakeReleases()
    for version in ("1", "2"):
        promote(unit_of_work, registry, version, by="ada", reason="first")
    back = [roll_back(unit_of_work, registry, by="ada", reason="worse") for _ in range(3)]
    assert back == ["1", "2", "1"]
    assert all(a[1] == b[0] for a, b in itertools.pairwise(chain(unit_of_work)))
