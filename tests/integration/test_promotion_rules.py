"""Decisions about a release by the verdict of its comparison, and by what has changed."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.db.models import AlertStatus, TrainingRun, new_id, now
from shared.db.session import UnitOfWork
from tests.support.factories import make_drift_alert
from tests.support.folder_registry import FolderRegistry
from tests.support.tiny_release import write_tiny_release
from trainer.runs.delivery import STARTER, Delivery
from trainer.runs.leases import Claim
from trainer.settings import TrainerSettings

#: A gain that is certain and small, as a training on some more labels finds it.
SMALL = {"outcome": "better", "low": 0.001, "sentence": "It is better"}


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """Return the address of an empty SQLite database; `test_training_runs` has both."""
    return sqlite_url


@dataclass(frozen=True)
class Scene:
    """A champion, and a release that a training has just registered."""

    unit_of_work: UnitOfWork
    registry: FolderRegistry

    def add(self, row: Any) -> None:
        with self.unit_of_work() as work:
            work.session.add(row)

    def delivery(self, **settings: Any) -> Delivery:
        chosen = TrainerSettings(**{"promotion": "automatic", **settings})
        return Delivery(self.unit_of_work, self.registry, chosen)

    def decide(self, verdict: dict[str, Any], *, requested_by: str = "ada", **settings: Any) -> str:
        """Decide about release 2 and return the message."""
        run = TrainingRun(id=new_id(), requested_by=requested_by, reason="drift")
        self.add(run)
        claim = Claim(run.id, 1, "good", "2", None)
        return self.delivery(**settings).decide(claim, "2", verdict)


@pytest.fixture
def scene(unit_of_work: UnitOfWork, tmp_path: Path) -> Scene:
    registry = FolderRegistry(tmp_path / "registry")
    folder = write_tiny_release(tmp_path / "release")
    for description in ("the first", "the second"):
        registry.register(folder, description=description)
    registry.mark_champion("1")
    return Scene(unit_of_work, registry)


@pytest.mark.parametrize(
    ("found", "allowed", "starter", "champion"),
    [
        ({"outcome": "not comparable"}, "manual", False, "1"),
        ({"outcome": "not comparable"}, "automatic", False, "2"),
        ({"outcome": "not comparable"}, "manual", True, "2"),
        ({"outcome": "better", "lost_categories": 2}, "manual", False, "1"),
        ({"outcome": "better", "lost_categories": 2}, "automatic", False, "2"),
        ({"outcome": "better", "lost_categories": 2}, "manual", True, "2"),
        ({"outcome": "better", "lost_categories": 0}, "manual", False, "2"),
        ({"outcome": "undecided", "lost_categories": 2}, "automatic", True, "1"),
    ],
)
def test_other_categories_wait_for_a_person_unless_the_starter_release_serves(
    scene: Scene, found: dict[str, object], allowed: str, starter: bool, champion: str
) -> None:
    if starter:
        scene.registry.describe("1", STARTER)
    verdict = found | {"sentence": "It differs"}
    message = scene.decide(verdict, promotion_of_other_categories=allowed)
    assert scene.registry.champion() == champion
    assert scene.registry.challenger == (None if champion == "2" else "2")
    begin = "Promoted. It differs" if champion == "2" else "Waiting for an admin: "
    assert message.startswith(begin)


def labelled(low: float) -> dict[str, Any]:
    return {"parts": [{"name": "labelled answers", "low": low}]}


@pytest.mark.parametrize(
    ("found", "least", "champion"),
    [
        ({}, 0.01, "1"),
        ({"low": 0.009}, 0.01, "1"),
        ({"low": 0.01}, 0.01, "2"),
        (labelled(0.009), 0.01, "1"),
        (labelled(0.02), 0.01, "2"),
        ({}, 0.001, "2"),
        ({}, 0.0, "2"),
        ({"new_categories": 1}, 0.01, "2"),
        ({"parts": [{"name": "rows weighted to the current mix", "low": 0.001}]}, 0.01, "2"),
        ({"low": 0.5, "outcome": "undecided"}, 0.01, "1"),
    ],
)
def test_routine_training_needs_a_gain_that_is_worth_a_promotion(
    scene: Scene, found: dict[str, Any], least: float, champion: str
) -> None:
    scene.add(make_drift_alert("labels", status=AlertStatus.TRAINING.value))
    scene.decide(SMALL | found, requested_by="monitor", promotion_routine_gain=least)
    assert scene.registry.champion() == champion
    assert scene.registry.challenger == (None if champion == "2" else "2")


def test_release_that_is_not_worth_a_promotion_waits_with_the_reason(scene: Scene) -> None:
    assert scene.decide(SMALL, requested_by="monitor") == (
        "Waiting for an admin: POST /v1/releases/2/promote. Nothing has changed, so clients' "
        "answers change by themselves only for a sure gain of 0.0100 "
        "(RAYON_TRAINER_PROMOTION_ROUTINE_GAIN). Sure of this release: 0.0010. It is better"
    )


CHANGES = [
    ({"kind": "text+prediction"}, True),
    ({"kind": "report", "source": "report"}, True),
    ({"kind": "labels"}, False),
    ({"kind": "text", "raised_at": now() - timedelta(days=31)}, False),
    # Nobody has said yet that it is a change to learn from.
    ({"kind": "quality", "status": AlertStatus.ASKING.value}, False),
    ({"kind": "text", "status": AlertStatus.ENDED.value, "ended_at": now()}, False),
    ({"kind": "promotion"}, False),
]


@pytest.mark.parametrize(("alert", "is_change"), CHANGES)
def test_training_after_an_alert_about_a_change_is_no_routine(
    scene: Scene, alert: dict[str, Any], is_change: bool
) -> None:
    scene.add(make_drift_alert(**alert))
    scene.decide(SMALL, requested_by="monitor")
    assert scene.registry.champion() == ("2" if is_change else "1")


@pytest.mark.parametrize(("alert", "is_change"), CHANGES)
def test_comparison_after_a_change_has_a_rule_of_its_own(
    scene: Scene, alert: dict[str, Any], is_change: bool
) -> None:
    scene.add(make_drift_alert(**alert))
    rule = scene.delivery(
        promotion_confidence=0.9,
        promotion_confidence_after_change=0.7,
        promotion_probability_after_change=0.6,
    ).rule()
    assert (rule.confidence, rule.probability) == ((0.7, 0.6) if is_change else (0.9, 1.0))


def test_first_own_release_needs_no_more_than_before(scene: Scene) -> None:
    scene.registry.describe("1", STARTER)
    scene.decide(SMALL, requested_by="monitor")
    assert scene.registry.champion() == "2"


def test_training_of_a_person_needs_no_more_than_before(scene: Scene) -> None:
    scene.decide(SMALL, requested_by="ada")
    assert scene.registry.champion() == "2"
