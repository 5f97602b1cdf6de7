"""The ledger is one chain, even after concurrent promotions."""

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


def run_together(*threads: threading.Thread) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)


def test_concurrent_promotions_form_one_chain(unit_of_work: UnitOfWork) -> None:
    # Given a champion with its line in the ledger, and six concurrent promotions of other releases
    registry = FakeReleases()
    registry.manifests |= {str(n): make_manifest(f"release-{n}") for n in range(3, 9)}
    promote(unit_of_work, registry, "2", by="ada", reason="first")
    start = threading.Barrier(6)

    def act(version: str) -> None:
        start.wait()
        promote(unit_of_work, registry, version, by=version, reason="at once")

    run_together(*(threading.Thread(target=act, args=(str(n),)) for n in range(3, 9)))
    # Then each line begins with the release of the line before, and the last one is champion
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


def test_concurrent_promotions_of_one_release_write_one_line(unit_of_work: UnitOfWork) -> None:
    registry = FakeReleases()
    promote(unit_of_work, registry, "1", by="ada", reason="first")
    start = threading.Barrier(4)
    conflicts: list[Conflict] = []

    def act() -> None:
        start.wait()
        try:
            promote(unit_of_work, registry, "2", by="ada", reason="at once")
        except Conflict as conflict:
            conflicts.append(conflict)

    run_together(*(threading.Thread(target=act) for _ in range(4)))
    assert chain(unit_of_work) == [(None, "1"), ("1", "2")]
    assert len(conflicts) == 3


def test_repeated_rollbacks_alternate_between_two_releases(unit_of_work: UnitOfWork) -> None:
    registry = FakeReleases()
    for version in ("1", "2"):
        promote(unit_of_work, registry, version, by="ada", reason="first")
    back = [roll_back(unit_of_work, registry, by="ada", reason="worse") for _ in range(3)]
    assert back == ["1", "2", "1"]
    assert all(a[1] == b[0] for a, b in itertools.pairwise(chain(unit_of_work)))
