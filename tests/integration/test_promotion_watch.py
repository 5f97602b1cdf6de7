"""The watch over a promoted release, on SQLite and PostgreSQL."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from shared.db.models import (
    AlertStatus,
    AuditEntry,
    Base,
    DriftAlert,
    Job,
    Promotion,
    Role,
    TrainingRun,
    now,
)
from shared.db.session import UnitOfWork
from shared.errors import Unavailable
from shared.lifecycle import promotion
from shared.lifecycle.promotion import promote, reconcile, roll_back
from tests.support.answered_jobs import AnsweredJobs
from tests.support.factories import make_manifest, make_user
from tests.support.fakes import FakeReleases
from tests.support.folder_registry import FolderRegistry
from tests.support.tiny_release import write_tiny_release
from trainer.monitoring.alert_response import AlertResponse
from trainer.monitoring.promotion_watch.comparing import Comparing, ScoringFailed
from trainer.monitoring.promotion_watch.measures import Pair
from trainer.monitoring.promotion_watch.observations import Answer
from trainer.monitoring.promotion_watch.replies import Reply
from trainer.monitoring.promotion_watch.rollback import Rollback
from trainer.monitoring.promotion_watch.watch import RETRY_DELAY, PromotionWatch
from trainer.monitoring.settings import MonitorSettings, WatchSettings
from trainer.settings import TrainerSettings

#: Texts that the tiny release puts into its first and into its second category.
SHORT, LONG = "piscine", "piscine piscine piscine piscine piscine piscine"
SURE, UNSURE = [0.95, 0.05], [0.05, 0.95]


@dataclass
class ScriptedComparing:
    """Replies of both releases, without models."""

    #: Code that the release that did not answer gives to every product.
    other: int = 10
    failure: str | None = None
    calls: int = 0

    def pairs(
        self, before: str, new: str, answered_before: Sequence[Answer], answered: Sequence[Answer]
    ) -> list[Pair]:
        """Return the stored replies beside scripted ones."""
        assert before != new
        self.calls += 1
        if self.failure:
            raise ScoringFailed(self.failure)
        scripted = {"fusion": Reply(self.other, 0.9)}
        return [Pair(one.replies, scripted, one.label) for one in answered_before] + [
            Pair(scripted, one.replies, one.label) for one in answered
        ]


class WatchedFakes(FakeReleases):
    """A registry in memory with a third release, which calls `stall` before the alias moves."""

    def __init__(self) -> None:
        super().__init__()
        self.manifests["3"] = make_manifest("release-3")
        self.stall: Any = None

    def mark_champion(self, version: str) -> None:
        """Move the alias, after what the test wants before."""
        if self.stall is not None:
            stall, self.stall = self.stall, None
            stall()
        super().mark_champion(version)


@dataclass
class Scene:
    """A ledger in which release 2 followed release 1, with answers around the promotion."""

    unit_of_work: UnitOfWork
    registry: Any = field(default_factory=WatchedFakes)
    comparing: Any = field(default_factory=ScriptedComparing)
    jobs: AnsweredJobs = field(default_factory=AnsweredJobs)
    settings: WatchSettings = field(default_factory=WatchSettings)
    promoted_at: datetime = field(default_factory=lambda: now() - timedelta(hours=1))

    def __post_init__(self) -> None:
        with self.unit_of_work() as work:
            work.session.add(self.jobs.user)
        promote(self.unit_of_work, self.registry, "1", by="ada", reason="first")
        promote(self.unit_of_work, self.registry, "2", by="ada", reason="better")
        with self.unit_of_work() as work:
            work.session.execute(update(Promotion).values(promoted_at=self.promoted_at))

    @property
    def watch(self) -> PromotionWatch:
        """A monitor's watch."""
        return PromotionWatch(self.unit_of_work, self.registry, self.settings, self.comparing)

    def answer(self, release: str, count: int, **changes: Any) -> list[Job]:
        """Store answers of a release: after the promotion, or before it for release 1."""
        step = timedelta(seconds=5)
        begin = self.promoted_at + step if release == "2" else self.promoted_at - (count + 1) * step
        self.jobs.release = release
        rows: list[Base] = []
        for place in range(count):
            unique = {"designation": f"{changes.get('title', 'Piscine')} {place}"}
            given = {"text": SURE, **changes}
            given.pop("title", None)
            rows += self.jobs.make(begin + place * step, **{**unique, **given})
        with self.unit_of_work() as work:
            for table in dict.fromkeys(type(row) for row in rows):
                work.session.add_all([row for row in rows if type(row) is table])
                work.session.flush()
        return [row for row in rows if isinstance(row, Job)]

    def ledger(self) -> list[Promotion]:
        """Return all promotions, oldest first."""
        with self.unit_of_work.reading() as session:
            return list(session.scalars(select(Promotion).order_by(Promotion.id)))

    def state(self) -> str | None:
        """Return the state of the watch over release 2."""
        watch = self.ledger()[1].watch
        return None if watch is None else watch["state"]

    def alerts(self) -> list[DriftAlert]:
        """Return all alerts."""
        with self.unit_of_work.reading() as session:
            return list(session.scalars(select(DriftAlert)))


@pytest.fixture
def scene(unit_of_work: UnitOfWork) -> Scene:
    """Return a scene with a registry in memory and answers of release 1."""
    scene = Scene(unit_of_work, jobs=AnsweredJobs(make_user("olga", role=Role.OPERATOR.value)))
    scene.answer("1", 60)
    return scene


def fail(scene: Scene, count: int = 40) -> None:
    """Store answers of release 2 that failed from the first one on."""
    changes = {"status": "failed", "error_code": "message_parked", "result": None}
    scene.answer("2", count, **changes, prdtypecode=None, confidence=None)


def test_release_that_fails_is_rolled_back_once(scene: Scene) -> None:
    fail(scene)
    scene.watch.look()
    # Then the release before serves, and ledger, alert and audit log have the reason
    assert scene.registry.champion() == "1"
    assert scene.state() == "rolled_back"
    line = scene.ledger()[-1]
    assert (line.promoted_by, line.version, line.previous_version) == ("monitor", "1", "2")
    assert "40 of 40 answers failed, 0 of 60 before" in line.reason
    (alert,) = scene.alerts()
    assert (alert.kind, alert.release, alert.summary) == ("promotion", "2", line.reason)
    with scene.unit_of_work.reading() as session:
        (entry,) = session.scalars(select(AuditEntry)).all()
    assert (entry.action, entry.actor, entry.target) == ("release.roll_back", "monitor", "2")
    # And further looks do nothing: a rollback is not watched
    scene.watch.look()
    assert len(scene.ledger()) == 3
    assert scene.ledger()[-1].watch is None


def test_alert_about_a_release_waits_for_a_person_and_starts_no_training(scene: Scene) -> None:
    fail(scene)
    scene.watch.look()
    AlertResponse(scene.unit_of_work, MonitorSettings()).look()
    (alert,) = scene.alerts()
    assert alert.status == AlertStatus.ASKING.value
    with scene.unit_of_work.reading() as session:
        assert session.scalars(select(TrainingRun)).all() == []


def test_release_that_is_promoted_again_is_left_alone(scene: Scene) -> None:
    fail(scene)
    scene.watch.look()
    promote(scene.unit_of_work, scene.registry, "2", by="ada", reason="I insist")
    scene.watch.look()
    assert scene.registry.champion() == "2"
    assert scene.ledger()[-1].watch is None


def test_rollback_by_a_person_is_not_watched(scene: Scene) -> None:
    scene.watch.look()
    roll_back(scene.unit_of_work, scene.registry, by="ada", reason="no")
    scene.watch.look()
    assert scene.state() == "replaced"
    assert scene.ledger()[-1].watch is None


def test_good_release_passes_when_the_time_is_over(scene: Scene) -> None:
    scene.answer("2", 60)
    scene.watch.look()
    assert scene.state() == "watching"
    scene.watch.look(now() + timedelta(hours=scene.settings.hours))
    assert scene.state() == "passed"
    watch = scene.ledger()[1].watch
    assert watch is not None
    assert watch["sentence"].startswith("Not worse than release 1 by")
    assert watch["answers"] == 60
    scene.watch.look()
    assert scene.registry.champion() == "2"
    assert scene.alerts() == []


def test_few_answers_leave_a_release_undecided(unit_of_work: UnitOfWork) -> None:
    scene = Scene(unit_of_work)
    scene.answer("2", 24)
    scene.watch.look()
    scene.watch.look(now() + timedelta(hours=scene.settings.hours))
    assert scene.state() == "undecided"


def test_failures_that_clients_cause_do_not_count(scene: Scene) -> None:
    changes = {"status": "failed", "error_code": "image_unreadable", "result": None}
    scene.answer("2", 40, **changes, prdtypecode=None, confidence=None)
    scene.watch.look()
    assert scene.state() == "watching"


def test_unlike_answers_are_found_before_the_release_has_answered(scene: Scene) -> None:
    # The release before was sure of 10, the promoted one answers 2583 to the same products.
    scene.comparing.other = 2583
    scene.watch.look()
    assert scene.state() == "rolled_back"
    assert "after 0 answers" in scene.ledger()[-1].reason


def test_scoring_is_repeated_only_when_the_rows_have_doubled(scene: Scene) -> None:
    for _ in range(3):
        scene.watch.look()
    assert scene.comparing.calls == 1
    scene.answer("2", 59)
    scene.watch.look()
    assert scene.comparing.calls == 1
    scene.answer("2", 1, title="Livre")
    scene.watch.look()
    assert scene.comparing.calls == 2


def test_failed_scoring_is_tried_later_and_stops_no_other_measure(scene: Scene) -> None:
    scene.comparing.failure = "the release crashes"
    watch = scene.watch
    watch.look()
    watch.look()
    assert (scene.comparing.calls, scene.state()) == (1, "watching")
    watch.look(now() + RETRY_DELAY)
    assert scene.comparing.calls == 2
    fail(scene)
    watch.look()
    assert scene.state() == "rolled_back"


def test_labels_find_a_release_that_errs_more(scene: Scene) -> None:
    # Given reviewed answers that the release before has right and the promoted one wrong
    scene.answer("2", 40, text=UNSURE, label=10, labelled_at=now(), reason="random")
    scene.settings = WatchSettings(answers=40)
    with scene.unit_of_work() as work:
        # Without them, the release before is not sure enough for the other comparison
        work.session.execute(update(Job).values(confidence=0.2))
    scene.watch.look()
    assert scene.state() == "rolled_back"
    assert "0 of 40 labelled products are answered correctly, 40 by" in scene.ledger()[-1].reason


def test_labels_of_clients_do_not_count(scene: Scene) -> None:
    scene.answer("2", 40, text=UNSURE, label=10, labelled_at=now(), reason="random")
    with scene.unit_of_work() as work:
        work.session.execute(update(Job).values(confidence=0.2, labelled_by_id="somebody"))
    scene.watch.look()
    watch = scene.ledger()[1].watch
    assert watch is not None
    assert (watch["state"], watch["labelled"]) == ("watching", 0)


def test_worse_release_is_only_reported_where_configured(scene: Scene) -> None:
    scene.settings = WatchSettings(action="alert")
    fail(scene)
    for _ in range(2):
        scene.watch.look()
    assert scene.registry.champion() == "2"
    assert (scene.state(), len(scene.alerts())) == ("alerted", 1)


def test_release_that_is_gone_is_not_rolled_back_to(scene: Scene) -> None:
    scene.comparing.failure = "the release is gone"
    del scene.registry.manifests["1"]
    fail(scene)
    for _ in range(2):
        scene.watch.look()
    assert (scene.registry.champion(), scene.state()) == ("2", "alerted")
    (alert,) = scene.alerts()
    assert "It could not be rolled back: No release '1'" in alert.summary


def test_promotion_by_a_person_meanwhile_stays(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a person who promotes a third release after the watch has decided
    fail(scene)
    watch = scene.watch
    original = watch._rollback.carry_out

    def promoting_first(line: Promotion, record: Any) -> None:
        promote(scene.unit_of_work, scene.registry, "3", by="ada", reason="a better one")
        original(line, record)

    monkeypatch.setattr(Rollback, "carry_out", lambda _, *given: promoting_first(*given))
    watch.look()
    assert (scene.registry.champion(), scene.state()) == ("3", "replaced")
    assert [line.version for line in scene.ledger()] == ["1", "2", "3"]
    assert scene.alerts() == []


def test_alias_that_was_moved_outside_stays(scene: Scene) -> None:
    fail(scene)
    scene.registry.marked = "3"
    scene.watch.look()
    assert scene.registry.champion() == "3"
    reconcile(scene.unit_of_work, scene.registry)
    scene.watch.look()
    assert (scene.registry.champion(), scene.state()) == ("3", "replaced")


def test_silent_registry_only_delays_the_rollback(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.watch.look()
    fail(scene)
    scene.registry.is_down = True
    with pytest.raises(Unavailable):
        scene.watch.look()
    assert (scene.state(), len(scene.ledger()), scene.alerts()) == ("rolling_back", 2, [])
    # When it answers again, but not while the alias moves
    scene.registry.is_down = False
    stalled = threading.Event()
    monkeypatch.setattr(promotion, "CALL_SECONDS", 0.3)
    monkeypatch.setattr(promotion, "TURN_SECONDS", 0.3)
    scene.registry.stall = lambda: _go_silent(scene.registry, stalled)
    with pytest.raises(Unavailable):
        scene.watch.look()
    assert scene.ledger()[-1].is_pending
    assert scene.state() == "rolling_back"
    # Then the rollback is recorded once it is carried out
    scene.registry.is_down = False
    stalled.set()
    with scene.unit_of_work() as work:
        work.session.execute(
            update(Promotion)
            .where(Promotion.is_pending)
            .values(promoted_at=now() - promotion.ABANDONED)
        )
    reconcile(scene.unit_of_work, scene.registry)
    scene.watch.look()
    assert (scene.registry.champion(), scene.state()) == ("1", "rolled_back")
    assert (len(scene.ledger()), len(scene.alerts())) == (3, 1)


def _go_silent(registry: WatchedFakes, stalled: threading.Event) -> None:
    registry.is_down = True
    stalled.wait(30)


def test_rollback_before_a_crash_is_recorded_after_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(scene)
    with monkeypatch.context() as crashing:
        crashing.setattr(Rollback, "_finish", lambda *_: None)
        scene.watch.look()
    assert (scene.registry.champion(), scene.state()) == ("1", "rolling_back")
    scene.watch.look()
    assert (scene.state(), len(scene.ledger()), len(scene.alerts())) == ("rolled_back", 3, 1)


def test_two_monitors_roll_back_once(scene: Scene) -> None:
    fail(scene)
    together = threading.Barrier(2, timeout=60)

    def look(_: int) -> None:
        watch = scene.watch
        together.wait()
        for _again in range(3):
            watch.look()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(look, range(2)))
    assert scene.registry.champion() == "1"
    assert (scene.state(), len(scene.ledger()), len(scene.alerts())) == ("rolled_back", 3, 1)


@pytest.mark.parametrize("is_inverted", [False, True])
def test_real_releases_score_the_products_of_each_other(
    unit_of_work: UnitOfWork, tmp_path: Path, *, is_inverted: bool
) -> None:
    # Given answers of a release to short and long texts, and another release, good or inverted
    registry = FolderRegistry(tmp_path / "registry")
    registry.register(write_tiny_release(tmp_path / "good"), description="good")
    second = write_tiny_release(tmp_path / "second", is_inverted=is_inverted)
    registry.register(second, description="second")
    settings = TrainerSettings(work_folder=tmp_path / "work", is_background=False, niceness=0)
    comparing = Comparing(registry, settings, 100, threading.Event())
    scene = Scene(unit_of_work, registry, comparing)
    scene.answer("1", 20, title=SHORT, text=[0.97, 0.03])
    scene.answer("1", 20, title=LONG, text=[0.03, 0.97])
    # When the promoted one is watched
    scene.watch.look()
    # Then the inverted one is found by the texts that the other one answered
    assert registry.champion() == ("1" if is_inverted else "2")
    assert scene.state() == ("rolled_back" if is_inverted else "watching")
    if is_inverted:
        assert "differ on 40 of 40 products" in scene.ledger()[-1].reason
