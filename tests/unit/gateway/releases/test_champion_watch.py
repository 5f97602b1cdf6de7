"""Tests of the selection of the release for new jobs."""

import threading

import pytest

from gateway.releases.champion_watch import ChampionWatch
from shared.broker import Worker
from shared.db.models import Promotion
from shared.db.session import UnitOfWork
from shared.errors import Unavailable
from shared.settings import ReleaseSettings
from tests.support.fakes import FakeBroker, FakeReleases


def _unable(version: str, *releases: str) -> Worker:
    queues = ("text.interactive",)
    return Worker("text@a", queues, releases, 0, 0, None, unloadable={version: "broken"})


@pytest.fixture
def releases() -> FakeReleases:
    """Return a registry whose champion is release 1."""
    return FakeReleases()


def _watch(
    releases: FakeReleases, broker: FakeBroker, unit_of_work: UnitOfWork, grace_seconds: float = 60
) -> ChampionWatch:
    settings = ReleaseSettings(switch_grace_seconds=grace_seconds)
    return ChampionWatch(releases, broker.workers, unit_of_work, settings)


def _worker(queue: str, *releases: str) -> Worker:
    return Worker(queue, (queue,), releases, 0, 0, None)


def test_first_champion_is_used_at_once(
    releases: FakeReleases, broker: FakeBroker, unit_of_work: UnitOfWork
) -> None:
    broker.present = [_worker("text.interactive")]
    watch = _watch(releases, broker, unit_of_work)
    watch.look()
    assert watch.current() == "1"


def test_no_release_is_available_before_the_first_promotion(
    releases: FakeReleases, broker: FakeBroker, unit_of_work: UnitOfWork
) -> None:
    releases.marked = None
    watch = _watch(releases, broker, unit_of_work)
    watch.look()
    with pytest.raises(Unavailable):
        watch.current()


def test_new_champion_is_used_once_every_model_worker_has_loaded_it(
    releases: FakeReleases, broker: FakeBroker, unit_of_work: UnitOfWork
) -> None:
    watch = _watch(releases, broker, unit_of_work)
    watch.look()
    releases.marked = "2"
    fusion = _worker("fusion.interactive")
    for text, image, expected in [
        (("1",), ("1",), "1"),
        (("1", "2"), ("1",), "1"),
        (("1",), ("1", "2"), "1"),
        (("1", "2"), ("1", "2"), "2"),
    ]:
        broker.present = [
            _worker("text.interactive", *text),
            _worker("image.catalog", *image),
            fusion,
        ]
        watch.look()
        assert watch.current() == expected


def test_new_champion_is_used_after_the_grace_time(
    releases: FakeReleases, broker: FakeBroker, unit_of_work: UnitOfWork
) -> None:
    broker.present = [_worker("text.interactive", "1")]
    watch = _watch(releases, broker, unit_of_work, grace_seconds=0)
    watch.look()
    releases.marked = "2"
    watch.look()
    watch.look()
    assert watch.current() == "2"


@pytest.mark.parametrize(
    ("able", "expected"), [((False, False), "1"), ((False, True), "2"), ((True, True), "2")]
)
def test_new_champion_is_not_used_while_no_worker_of_a_queue_can_load_it(
    releases: FakeReleases,
    broker: FakeBroker,
    unit_of_work: UnitOfWork,
    able: tuple[bool, bool],
    expected: str,
) -> None:
    watch = _watch(releases, broker, unit_of_work, grace_seconds=0)
    watch.look()
    releases.marked = "2"
    broker.present = [
        _worker("image.interactive", "1", "2"),
        *(_worker("text.interactive", "1") if one else _unable("2", "1") for one in able),
    ]
    watch.look()
    watch.look()
    assert watch.current() == expected


def test_champion_that_can_be_loaded_at_last_is_used(
    releases: FakeReleases, broker: FakeBroker, unit_of_work: UnitOfWork
) -> None:
    watch = _watch(releases, broker, unit_of_work)
    watch.look()
    releases.marked = "2"
    broker.present = [_unable("2", "1")]
    watch.look()
    assert watch.current() == "1"
    broker.present = [_worker("text.interactive", "1", "2")]
    watch.look()
    assert watch.current() == "2"


@pytest.mark.parametrize(("unloadable", "expected"), [(("2",), "1"), (("1", "2"), "2"), ((), "2")])
def test_gateway_that_starts_with_an_unloadable_champion_uses_the_one_before(
    releases: FakeReleases,
    broker: FakeBroker,
    unit_of_work: UnitOfWork,
    unloadable: tuple[str, ...],
    expected: str,
) -> None:
    for version in ("1", "2"):
        line = Promotion(version=version, promoted_by="ada", reason="better", figures={})
        with unit_of_work() as work:
            work.session.add(line)
    releases.marked = "2"
    reasons = dict.fromkeys(unloadable, "broken")
    broker.present = [Worker("text@a", ("text.interactive",), (), 0, 0, None, unloadable=reasons)]
    watch = _watch(releases, broker, unit_of_work)
    watch.look()
    assert watch.current() == expected


def test_champion_is_kept_while_registry_or_queue_are_down(
    releases: FakeReleases, broker: FakeBroker, unit_of_work: UnitOfWork
) -> None:
    watch = _watch(releases, broker, unit_of_work)
    watch.look()
    releases.marked, broker.is_down = "2", True
    with pytest.raises(Unavailable):
        watch.look()
    releases.is_down = True
    watch.look()
    assert watch.current() == "1"


def test_start_without_registry_uses_the_promotion_ledger(
    releases: FakeReleases, broker: FakeBroker, unit_of_work: UnitOfWork
) -> None:
    releases.is_down = True
    for version in ("1", "2"):
        line = Promotion(version=version, promoted_by="ada", reason="better", figures={})
        with unit_of_work() as work:
            work.session.add(line)
    watch = _watch(releases, broker, unit_of_work)
    watch.look()
    assert watch.current() == "2"


def test_adopted_champion_is_used_as_soon_as_the_workers_have_loaded_it(
    releases: FakeReleases, broker: FakeBroker, unit_of_work: UnitOfWork
) -> None:
    watch = _watch(releases, broker, unit_of_work)
    broker.present = [_worker("text.interactive", "1")]
    watch.look()
    # Given a promotion, and workers that load its release a moment later
    releases.marked = "2"
    loaded = threading.Timer(
        0.3, broker.present.__setitem__, (0, _worker("text.interactive", "1", "2"))
    )
    loaded.start()
    # When the promotion waits, I expect no job to get the old release afterwards
    assert watch.adopt("2")
    loaded.join()
    assert watch.current() == "2"
    assert watch.current() in broker.present[0].releases


def test_adopted_champion_is_used_after_the_grace_time_at_the_latest(
    releases: FakeReleases, broker: FakeBroker, unit_of_work: UnitOfWork
) -> None:
    watch = _watch(releases, broker, unit_of_work, grace_seconds=0)
    broker.present = [_worker("text.interactive", "1")]
    watch.look()
    releases.marked = "2"
    assert watch.adopt("2")
    assert watch.current() == "2"


def test_champion_that_no_worker_can_load_is_not_adopted(
    releases: FakeReleases, broker: FakeBroker, unit_of_work: UnitOfWork
) -> None:
    watch = _watch(releases, broker, unit_of_work, grace_seconds=0)
    watch.look()
    releases.marked, broker.present = "2", [_unable("2", "1")]
    assert not watch.adopt("2")
    assert watch.current() == "1"


def test_a_look_that_began_before_a_promotion_does_not_undo_it(
    releases: FakeReleases, broker: FakeBroker, unit_of_work: UnitOfWork
) -> None:
    watch = _watch(releases, broker, unit_of_work)
    watch.look()
    asked, promoted = threading.Event(), threading.Event()

    def slow_champion() -> str:
        asked.set()
        assert promoted.wait(5)
        return "1"

    releases.champion = slow_champion  # type: ignore[method-assign]
    look = threading.Thread(target=watch.look)
    look.start()
    assert asked.wait(5)
    assert watch.adopt("2")
    promoted.set()
    look.join()
    assert watch.current() == "2"
