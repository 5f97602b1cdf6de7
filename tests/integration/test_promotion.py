"""The ledger is one chain, and agrees with the registry, whatever is interrupted."""

import itertools
import threading
from collections.abc import Callable
from datetime import timedelta
from unittest.mock import patch

import pytest
from sqlalchemy import select, update

from shared.db.models import Promotion, now
from shared.db.session import UnitOfWork
from shared.errors import Conflict, NotFound, Unavailable
from shared.lifecycle import promotion
from shared.lifecycle.ledger import last_done
from shared.lifecycle.promotion import Superseded, promote, reconcile, roll_back
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
    back = [roll_back(unit_of_work, registry, by="ada", reason="worse").version for _ in range(3)]
    assert back == ["1", "2", "1"]
    assert all(a[1] == b[0] for a, b in itertools.pairwise(chain(unit_of_work)))


def test_rollback_of_a_promotion_that_another_followed_is_refused(
    unit_of_work: UnitOfWork,
) -> None:
    registry = FakeReleases()
    registry.manifests["3"] = make_manifest("release-3")
    for version in ("1", "2"):
        promote(unit_of_work, registry, version, by="ada", reason="first")
    with unit_of_work.reading() as session:
        watched = last_done(session)
    assert watched is not None
    # When somebody promotes another release, or moves the alias outside of Rayon
    registry.marked = "3"
    with pytest.raises(Superseded):
        roll_back(unit_of_work, registry, by="monitor", reason="worse", only_after=watched.id)
    promote(unit_of_work, registry, "3", by="ada", reason="another")
    with pytest.raises(Superseded):
        roll_back(unit_of_work, registry, by="monitor", reason="worse", only_after=watched.id)
    # Then the release of that person serves
    assert registry.champion() == "3"
    assert [version for _, version in chain(unit_of_work)] == ["1", "2", "3"]


def test_only_one_of_concurrent_rollbacks_of_a_promotion_is_carried_out(
    unit_of_work: UnitOfWork,
) -> None:
    registry = FakeReleases()
    for version in ("1", "2"):
        promote(unit_of_work, registry, version, by="ada", reason="first")
    with unit_of_work.reading() as session:
        watched = last_done(session)
    assert watched is not None
    start, refused = threading.Barrier(4), []

    def act() -> None:
        start.wait()
        try:
            roll_back(unit_of_work, registry, by="monitor", reason="worse", only_after=watched.id)
        except Superseded as error:
            refused.append(error)

    run_together(*(threading.Thread(target=act) for _ in range(4)))
    assert (len(refused), registry.champion()) == (3, "1")
    assert chain(unit_of_work) == [(None, "1"), ("1", "2"), ("2", "1")]


# A registry that stalls


class StallingReleases(FakeReleases):
    """A registry whose change of the alias calls `stall` before and `after` once it has moved."""

    def __init__(self) -> None:
        super().__init__()
        self.manifests["3"] = make_manifest("release-3")
        self.stall: Callable[[], None] = lambda: None
        self.after: Callable[[], None] = lambda: None

    def mark_champion(self, version: str) -> None:
        """Move the alias, with what the test wants before and after."""
        self.stall()
        super().mark_champion(version)
        self.after()


def raising(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


def waiting(stalled: threading.Event) -> None:
    stalled.wait(SECONDS)


def age(unit_of_work: UnitOfWork, by: timedelta) -> None:
    with unit_of_work() as work:
        work.session.execute(update(Promotion).values(promoted_at=now() - by))


def pending(unit_of_work: UnitOfWork) -> list[str]:
    with unit_of_work.reading() as session:
        return list(session.scalars(select(Promotion.version).where(Promotion.is_pending)))


@pytest.fixture
def registry(unit_of_work: UnitOfWork) -> StallingReleases:
    """Return a registry whose champion, 1, has its line in the ledger."""
    registry = StallingReleases()
    promote(unit_of_work, registry, "1", by="ada", reason="first")
    return registry


def test_others_write_while_the_registry_is_asked(
    unit_of_work: UnitOfWork, registry: StallingReleases
) -> None:
    def write() -> None:
        with unit_of_work() as work:
            work.session.execute(update(Promotion).values(reason="written meanwhile"))

    def stall() -> None:
        other = threading.Thread(target=write, daemon=True)
        other.start()
        other.join(SECONDS / 10)
        assert not other.is_alive()

    registry.stall = stall
    promote(unit_of_work, registry, "2", by="ada", reason="better")
    assert chain(unit_of_work) == [(None, "1"), ("1", "2")]


def test_promotion_whose_answer_was_late_has_succeeded(
    unit_of_work: UnitOfWork, registry: StallingReleases
) -> None:
    stalled = threading.Event()
    registry.after = lambda: waiting(stalled)
    with patch.object(promotion, "CALL_SECONDS", 0.2):
        assert promote(unit_of_work, registry, "2", by="ada", reason="better").version == "2"
    stalled.set()
    assert pending(unit_of_work) == []


def test_silent_registry_is_given_up_and_the_promotion_follows(
    unit_of_work: UnitOfWork, registry: StallingReleases
) -> None:
    stalled = threading.Event()

    def stall() -> None:
        registry.is_down = True
        stalled.wait(SECONDS)

    registry.stall = stall
    with (
        patch.object(promotion, "CALL_SECONDS", 0.2),
        pytest.raises(Unavailable, match="recorded, and is carried out once the registry answers"),
    ):
        promote(unit_of_work, registry, "2", by="ada", reason="better")
    assert pending(unit_of_work) == ["2"]
    with unit_of_work.reading() as session:
        champion = last_done(session)
    assert champion is not None
    assert champion.version == "1"
    # While its calls may still have an effect, the promotion is left alone
    registry.is_down, registry.stall = False, lambda: None
    reconcile(unit_of_work, registry)
    assert (registry.champion(), pending(unit_of_work)) == ("1", ["2"])
    # When it is abandoned, it is carried out
    age(unit_of_work, promotion.ABANDONED)
    reconcile(unit_of_work, registry)
    assert (registry.champion(), pending(unit_of_work)) == ("2", [])
    stalled.set()


def test_promotion_is_completed_after_a_crash_once_the_alias_had_moved(
    unit_of_work: UnitOfWork, registry: StallingReleases
) -> None:
    registry.after = raising(SystemExit("killed"))
    with pytest.raises(SystemExit):
        promote(unit_of_work, registry, "2", by="ada", reason="better")
    assert pending(unit_of_work) == ["2"]
    registry.after = lambda: None
    age(unit_of_work, promotion.ABANDONED)
    reconcile(unit_of_work, registry)
    assert pending(unit_of_work) == []
    assert chain(unit_of_work) == [(None, "1"), ("1", "2")]


def test_next_promotion_finishes_the_abandoned_one_and_follows_it(
    unit_of_work: UnitOfWork, registry: StallingReleases
) -> None:
    registry.stall = raising(Unavailable("stopped"))
    with pytest.raises(Unavailable):
        promote(unit_of_work, registry, "2", by="ada", reason="better")
    registry.stall = lambda: None
    age(unit_of_work, promotion.ABANDONED)
    promote(unit_of_work, registry, "3", by="bob", reason="better")
    assert chain(unit_of_work) == [(None, "1"), ("1", "2"), ("2", "3")]
    assert (registry.champion(), pending(unit_of_work)) == ("3", [])


def test_repeated_promotion_finishes_the_abandoned_one(
    unit_of_work: UnitOfWork, registry: StallingReleases
) -> None:
    registry.stall = raising(Unavailable("stopped"))
    with pytest.raises(Unavailable):
        promote(unit_of_work, registry, "2", by="ada", reason="better")
    registry.stall = lambda: None
    age(unit_of_work, promotion.ABANDONED)
    promote(unit_of_work, registry, "2", by="ada", reason="better")
    assert chain(unit_of_work) == [(None, "1"), ("1", "2")]


def test_promotion_waits_for_its_turn_and_then_gives_up(
    unit_of_work: UnitOfWork, registry: StallingReleases
) -> None:
    registry.stall = raising(Unavailable("stopped"))
    with pytest.raises(Unavailable):
        promote(unit_of_work, registry, "2", by="ada", reason="better")
    with (
        patch.object(promotion, "TURN_SECONDS", 0.3),
        pytest.raises(Unavailable, match="release 2 is not finished yet"),
    ):
        promote(unit_of_work, registry, "3", by="bob", reason="better")
    assert chain(unit_of_work) == [(None, "1"), ("1", "2")]


def test_promotion_of_a_deleted_release_is_withdrawn(
    unit_of_work: UnitOfWork, registry: StallingReleases
) -> None:
    registry.stall = raising(NotFound("No release '2'"))
    with pytest.raises(NotFound):
        promote(unit_of_work, registry, "2", by="ada", reason="better")
    assert chain(unit_of_work) == [(None, "1")]
    registry.stall = raising(Unavailable("stopped"))
    with pytest.raises(Unavailable):
        promote(unit_of_work, registry, "3", by="ada", reason="better")
    del registry.manifests["3"]
    age(unit_of_work, promotion.ABANDONED)
    reconcile(unit_of_work, registry)
    assert chain(unit_of_work) == [(None, "1")]


def test_champion_moved_outside_of_rayon_is_recorded_once(
    unit_of_work: UnitOfWork, registry: StallingReleases
) -> None:
    registry.marked = "2"
    for _ in range(2):
        reconcile(unit_of_work, registry)
    assert chain(unit_of_work) == [(None, "1"), ("1", "2")]
    assert registry.champion() == "2"
    # A rollback knows where it began
    assert roll_back(unit_of_work, registry, by="ada", reason="worse").version == "1"


def test_check_changes_nothing_while_all_agree(
    unit_of_work: UnitOfWork, registry: StallingReleases
) -> None:
    reconcile(unit_of_work, registry)
    registry.marked = None
    reconcile(unit_of_work, registry)
    assert chain(unit_of_work) == [(None, "1")]


def test_ledger_keeps_its_order_when_the_clock_steps_back(
    unit_of_work: UnitOfWork, registry: StallingReleases
) -> None:
    earlier = iter(["01890000-0000-7000-8000-000000000002", "01890000-0000-7000-8000-000000000001"])
    with patch("shared.lifecycle.ledger.new_id", lambda: next(earlier)):
        promote(unit_of_work, registry, "2", by="ada", reason="better")
        promote(unit_of_work, registry, "3", by="ada", reason="better")
    assert chain(unit_of_work) == [(None, "1"), ("1", "2"), ("2", "3")]
