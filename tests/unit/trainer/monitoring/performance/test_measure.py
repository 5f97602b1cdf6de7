"""Performance figures in a real database: content, schedule, and failures of scoring."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from shared.contracts import Modality
from shared.db.models import Base, DatasetStatus, DatasetVersion, Performance, Score
from shared.db.session import UnitOfWork
from tests.support.answered_jobs import AnsweredJobs, even_fusion
from tests.support.factories import make_user
from tests.support.fakes import FolderReleases
from tests.support.tiny_release import write_tiny_release
from tests.unit.gateway import conftest as gateway
from tests.unit.trainer.monitoring.products import make_products
from trainer.monitoring.performance.cbpe import estimated_f1
from trainer.monitoring.performance.measure import Performances
from trainer.monitoring.settings import MonitorSettings
from trainer.settings import TrainerSettings

broker, migrated, unit_of_work = gateway.broker, gateway.migrated, gateway.unit_of_work

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)
#: Code of the scoring process: writes fixed figures, or exits with an error.
CHILD = """
import json, sys
from pathlib import Path
release, data, _, out, *_ = sys.argv[1:]
if data == "broken":
    sys.exit("error: Expected a folder")
measured = {"f1": .8, "low": .7, "high": .9, "rows": 50, "by_class": {"10": {"f1": .8, "rows": 50}}}
both = {"measured": measured, "estimated": measured | {"f1": .83}}
Path(out).write_text(json.dumps({"fusion": both, "text": both}))
"""


@pytest.fixture
def releases(tmp_path: Path) -> FolderReleases:
    for version in ("1", "2"):
        write_tiny_release(tmp_path / "releases" / version)
    return FolderReleases(tmp_path / "releases")


@pytest.fixture
def performances(
    unit_of_work: UnitOfWork, releases: FolderReleases, tmp_path: Path
) -> Performances:
    return Performances(
        unit_of_work,
        releases,
        MonitorSettings(),
        TrainerSettings(work_folder=tmp_path / "work", data=Path("data")),
        command=(sys.executable, "-c", CHILD),
    )


@pytest.fixture
def jobs() -> AnsweredJobs:
    return AnsweredJobs()


@pytest.fixture
def add(unit_of_work: UnitOfWork, jobs: AnsweredJobs) -> Callable[..., None]:
    def add(*rows: Base) -> None:
        with unit_of_work() as work:
            # In the order of the foreign keys, which these rows have no relationships for.
            for table in Base.metadata.sorted_tables:
                work.session.add_all(row for row in rows if row.__tablename__ == table.name)
                work.session.flush()

    add(jobs.user)
    return add


@pytest.fixture
def kept(unit_of_work: UnitOfWork) -> Callable[..., list[Performance]]:
    def kept(**columns: object) -> list[Performance]:
        with unit_of_work.reading() as session:
            query = select(Performance).filter_by(**columns)
            return list(session.scalars(query.order_by(Performance.begins_at, Performance.ends_at)))

    return kept


def probabilities(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet([0.4, 0.4], rows).astype(np.float32)


def test_estimates_use_the_scores_that_formed_each_answer(
    performances: Performances,
    jobs: AnsweredJobs,
    add: Callable[..., None],
    kept: Callable[..., list[Performance]],
) -> None:
    texts, images = probabilities(40, 1), probabilities(40, 2)
    for text, image in zip(texts[:20], images[:20], strict=True):
        add(*jobs.make(NOON, text=text, image=image))
    for text in texts[20:]:
        add(*jobs.make(NOON, text=text, model="text"))
    for image in images[20:]:
        add(*jobs.make(NOON, image=image, broken=Modality.TEXT))
    performances.measure(NOON)
    days = {row.modality: row for row in kept(kind="estimated") if row.ends_at == _midnight(21)}
    fused = np.concatenate([even_fusion().combine(texts[:20], images[:20]), images[20:]])
    for modality, scores in (("fusion", fused), ("text", texts), ("image", images)):
        expected = estimated_f1(scores, codes=(10, 2583))
        found = days[modality]
        assert (found.f1, found.low, found.high) == pytest.approx(
            (expected.f1, expected.low, expected.high)
        )
        assert found.rows == 40
        assert found.classes["10"]["f1"] == pytest.approx(expected.by_class[10].f1)


def test_broken_stream_has_no_estimate_until_its_answers_are_like_the_held_out_ones_again(
    performances: Performances,
    releases: FolderReleases,
    jobs: AnsweredJobs,
    add: Callable[..., None],
    kept: Callable[..., list[Performance]],
) -> None:
    # Given a release with known answers, and a stream of which all answers are the same
    held = make_products(400)
    for version in ("1", "2"):
        sample = replace(held.sample(), truth=held.answers)
        sample.save(releases.folder(version))
    same = np.array([0.97, 0.03], np.float32)
    add(*(row for _ in range(120) for row in jobs.make(NOON, text=same)))
    # When it is measured, I expect a reason in place of a figure
    performances.measure(NOON)
    assert kept(kind="estimated") == []
    found = kept(kind="not_estimated", modality="text", ends_at=_midnight(21))
    assert [(row.f1, row.low, row.high, row.classes) for row in found] == [(None, None, None, {})]
    assert found[0].shift is not None
    assert (found[0].shift["reason"], found[0].rows) == ("unlike", 120)
    # When many like the held-out ones follow, I expect an estimate in its place
    texts = make_products(1_000, seed=1).scores[Modality.TEXT].astype(np.float32)
    add(*(row for text in texts for row in jobs.make(NOON, text=text)))
    performances.measure(NOON + timedelta(hours=2))
    (row,) = kept(kind="estimated", modality="text", ends_at=_midnight(21))
    assert row.shift is not None
    assert (row.shift["reason"], row.rows) == (None, 1_120)
    assert row.low is not None
    assert kept(kind="not_estimated", modality="text", ends_at=_midnight(21)) == []


def test_days_and_months_have_their_own_figures(
    performances: Performances,
    jobs: AnsweredJobs,
    add: Callable[..., None],
    kept: Callable[..., list[Performance]],
) -> None:
    for back in (0, 1, 30):
        for text in probabilities(3, back):
            add(*jobs.make(NOON - back * DAY, text=text))
    performances.measure(NOON)
    found = [(row.begins_at, row.ends_at, row.rows) for row in kept(modality="fusion")]
    october, november, december = (datetime(2026, month, 1, tzinfo=UTC) for month in (10, 11, 12))
    assert found == [
        (october, november, 3),
        (_midnight(20) - 30 * DAY, _midnight(21) - 30 * DAY, 3),
        (november, december, 6),
        (_midnight(19), _midnight(20), 3),
        (_midnight(20), _midnight(21), 3),
    ]


def test_unfinished_day_is_measured_again_until_it_is_over(
    performances: Performances,
    jobs: AnsweredJobs,
    add: Callable[..., None],
    kept: Callable[..., list[Performance]],
) -> None:
    def day() -> tuple[datetime, int]:
        (found,) = [row for row in kept(modality="text") if row.ends_at == _midnight(21)]
        return found.measured_at, found.rows

    for hours, expected in ((0, (0, 2)), (0.5, (0, 2)), (2, (2, 6)), (13, (13, 8)), (40, (13, 8))):
        for text in probabilities(2):
            add(*jobs.make(NOON, text=text))
        moment = NOON + timedelta(hours=hours)
        performances.measure(moment)
        measured, rows = expected
        assert day() == (NOON + timedelta(hours=measured), rows)


def test_reviewed_answers_are_weighted_and_volunteered_ones_kept_separate(
    performances: Performances,
    jobs: AnsweredJobs,
    add: Callable[..., None],
    kept: Callable[..., list[Performance]],
) -> None:
    sure, unsure = [0.99, 0.01], [0.55, 0.45]
    for _ in range(20):
        add(*jobs.make(NOON, text=sure, label=10, reason="random", chance=0.1))
        add(*jobs.make(NOON, text=unsure, label=2583, reason="uncertain", chance=1.0))
        add(*jobs.make(NOON, text=sure, label=2583))
    # Drawn but not yet labelled: the labelled ones represent these too.
    for _ in range(20):
        add(*jobs.make(NOON, text=sure, reason="random", chance=0.1))
    performances.measure(NOON + DAY)
    (reviewed,) = _months(kept(kind="labelled", modality="fusion"))
    # 400 of 420 answers are correct: F1 of 10 is 2 * 400 / (400 + 420), of 2583 it is 0.
    assert reviewed.f1 == pytest.approx(800 / 820 * 400 / 420)
    assert (reviewed.rows, reviewed.classes["10"]["rows"]) == (40, 20)
    (volunteered,) = _months(kept(kind="volunteered", modality="fusion"))
    assert (volunteered.f1, volunteered.rows) == (0, 20)
    assert _months(kept(kind="labelled", modality="image")) == []


def test_untrusted_labels_of_drawn_answers_are_not_measured(
    performances: Performances,
    jobs: AnsweredJobs,
    add: Callable[..., None],
    kept: Callable[..., list[Performance]],
) -> None:
    # A client labels its own answers, drawn ones too, so that the release seems to fail.
    client = make_user("client")
    add(client)
    for _ in range(20):
        add(*jobs.make(NOON, text=[0.99, 0.01], label=10, reason="random", chance=0.1))
    for reason in ("random", None):
        for _ in range(20):
            wrong: dict[str, Any] = {"label": 2583, "labelled_by_id": client.id}
            add(*jobs.make(NOON, text=[0.99, 0.01], reason=reason, chance=0.1, **wrong))
    performances.measure(NOON + DAY)
    (reviewed,) = _months(kept(kind="labelled", modality="fusion"))
    assert (reviewed.f1, reviewed.rows) == (1, 20)
    # Its labels of other answers are its feedback, a figure of their own.
    (volunteered,) = _months(kept(kind="volunteered", modality="fusion"))
    assert (volunteered.f1, volunteered.rows) == (0, 20)


@pytest.mark.parametrize("uncertain_labelled", [0, 9, 18])
def test_figure_does_not_depend_on_which_part_of_the_sample_is_labelled(
    performances: Performances,
    jobs: AnsweredJobs,
    add: Callable[..., None],
    kept: Callable[..., list[Performance]],
    uncertain_labelled: int,
) -> None:
    # From 200 certain and 40 uncertain answers, the random part draws one in ten, and the uncertain
    # part draws half of the remaining uncertain ones.
    sure: dict[str, Any] = {"text": [0.99, 0.01], "chance": 0.1}
    unsure: dict[str, Any] = {"text": [0.55, 0.45], "chance": 0.1 + 0.9 * 0.5}
    for _ in range(20):
        add(*jobs.make(NOON, label=10, reason="random", random_chance=0.1, **sure))
    for _ in range(4):
        add(*jobs.make(NOON, label=2583, reason="random", random_chance=0.1, **unsure))
    for number in range(18):
        label = 2583 if number < uncertain_labelled else None
        add(*jobs.make(NOON, label=label, reason="uncertain", random_chance=0.1, **unsure))
    performances.measure(NOON + DAY)
    (reviewed,) = _months(kept(kind="labelled", modality="fusion"))
    assert reviewed.rows == 24 + uncertain_labelled
    # All were answered with 10: its F1 is 2 * 200 / (200 + 240), of 2583 it is 0.
    assert reviewed.f1 == pytest.approx(400 / 440 * 200 / 240)


def test_late_labels_update_the_figures_of_their_day(
    performances: Performances,
    jobs: AnsweredJobs,
    add: Callable[..., None],
    kept: Callable[..., list[Performance]],
) -> None:
    def make(rows: int, labelled: int) -> None:
        for _ in range(rows):
            add(
                *jobs.make(
                    NOON,
                    text=[0.9, 0.1],
                    label=10,
                    labelled_at=NOON + labelled * DAY,
                    reason="random",
                )
            )

    make(20, labelled=1)
    performances.measure(NOON + 2 * DAY)
    assert [row.rows for row in kept(kind="labelled", modality="fusion")] == [20]
    make(15, labelled=40)
    performances.measure(NOON + 41 * DAY)
    # The day now has enough labels, and the month's figure was replaced.
    assert [row.rows for row in kept(kind="labelled", modality="fusion")] == [35, 35]


def test_each_estimate_is_stored_with_the_error_of_earlier_ones(
    performances: Performances,
    jobs: AnsweredJobs,
    add: Callable[..., None],
    kept: Callable[..., list[Performance]],
) -> None:
    for day in (0, 1):
        for number in range(100):
            label = 10 if number < 75 else 2583
            moment = NOON + day * DAY
            add(*jobs.make(moment, text=[0.9, 0.1], label=label, reason="random"))
    performances.measure(NOON + 3 * DAY)
    first, second = (
        row for row in kept(kind="estimated", modality="fusion") if row not in _months([row])
    )
    (labelled,) = [
        row for row in kept(kind="labelled", modality="fusion") if row.ends_at == _midnight(21)
    ]
    assert first.past_error is None
    assert first.f1 is not None
    assert labelled.f1 is not None
    assert second.past_error == pytest.approx(abs(first.f1 - labelled.f1))


def test_champion_is_scored_on_schedule_and_when_it_changes(
    performances: Performances,
    releases: FolderReleases,
    kept: Callable[..., list[Performance]],
) -> None:
    performances.score_champion(NOON)
    performances.score_champion(NOON + 6 * DAY)
    (found,) = kept(kind="test", modality="fusion")
    assert (found.f1, found.low, found.high, found.release) == (0.8, 0.7, 0.9, "1")
    assert found.classes["10"]["f1"] == 0.8
    performances.score_champion(NOON + 7 * DAY)
    releases.mark_champion("2")
    performances.score_champion(NOON + 7 * DAY)
    scored = [(row.release, row.measured_at) for row in kept(kind="test", modality="fusion")]
    assert scored == [("1", NOON), ("1", NOON + 7 * DAY), ("2", NOON + 7 * DAY)]
    # Estimates on the same rows: the second one is stored with the error of the first.
    estimates = [row.past_error for row in kept(kind="estimated", modality="fusion")]
    assert estimates == [None, pytest.approx(0.03), pytest.approx(0.03)]


def test_champion_is_scored_on_the_newest_stored_dataset(
    performances: Performances,
    add: Callable[..., None],
    kept: Callable[..., list[Performance]],
) -> None:
    performances.scoring.trainer = TrainerSettings(data=Path("broken"))
    fields = {"name": "shop", "created_by": "ada", "asked": {}}
    add(DatasetVersion(version=3, status=DatasetStatus.READY.value, **fields))
    performances.score_champion(NOON)
    assert [row.low for row in kept(kind="test", modality="text")] == [0.7]


@pytest.mark.parametrize("data", [None, Path("broken")])
def test_figures_of_the_manifest_are_stored_without_data(
    performances: Performances,
    kept: Callable[..., list[Performance]],
    data: Path | None,
    tmp_path: Path,
) -> None:
    performances.scoring.trainer = TrainerSettings(work_folder=tmp_path / "work", data=data)
    performances.score_champion(NOON)
    (found,) = kept()
    assert (found.kind, found.modality, found.f1) == ("test", "fusion", 0.8)
    assert (found.low, found.high, found.classes) == (None, None, {})
    # Data added later is used on the next day.
    performances.scoring.trainer = TrainerSettings(work_folder=tmp_path / "work", data=Path("data"))
    performances.score_champion(NOON + DAY)
    assert len(kept(kind="test", modality="fusion")) == 2


def test_failed_scoring_keeps_the_measured_figure_and_is_retried_the_next_day(
    performances: Performances, kept: Callable[..., list[Performance]], tmp_path: Path
) -> None:
    # Given a release that was scored a week ago, and data that cannot be read any more
    performances.score_champion(NOON)
    working_command = performances.scoring.command
    attempts = tmp_path / "attempts"
    performances.scoring.command = (
        sys.executable,
        "-c",
        f"open({str(attempts)!r}, 'a').write('x'); exit(3)",
    )
    for hours in (0, 1, 25):
        performances.score_champion(NOON + 7 * DAY + timedelta(hours=hours))
    # Then it is attempted once a day, and the measured figure stays
    assert attempts.read_text() == "xx"
    assert [row.low for row in kept(kind="test", modality="fusion")] == [0.7]
    performances.scoring.command = working_command
    performances.score_champion(NOON + 9 * DAY + timedelta(hours=2))
    assert [row.low for row in kept(kind="test", modality="fusion")] == [0.7, 0.7]


def test_stopped_scoring_stores_nothing(
    performances: Performances, kept: Callable[..., list[Performance]]
) -> None:
    performances.stopping.set()
    performances.score_champion(NOON)
    assert kept(kind="test", modality="fusion") == []


def test_invalid_probabilities_are_excluded_from_the_estimate(
    performances: Performances,
    jobs: AnsweredJobs,
    add: Callable[..., None],
    kept: Callable[..., list[Performance]],
) -> None:
    for text in probabilities(100):
        add(*jobs.make(NOON, text=text))
    broken = jobs.make(NOON, text=[0.9, 0.1])
    for score in broken:
        if isinstance(score, Score):
            score.probabilities = np.array([0.9, 0.9], "<f4").tobytes()
    add(*broken)
    performances.measure(NOON + DAY)
    assert {row.rows for row in kept(kind="estimated", modality="text")} == {100}


def test_stopping_ends_a_running_scoring_process(performances: Performances) -> None:
    performances.scoring.command = (sys.executable, "-c", "import time; time.sleep(60)")
    performances.stopping.set()
    started = datetime.now(UTC)
    performances.score_champion(NOON)
    assert datetime.now(UTC) - started < timedelta(seconds=5)


def test_categories_are_stored_as_json(
    performances: Performances,
    jobs: AnsweredJobs,
    add: Callable[..., None],
    kept: Callable[..., list[Performance]],
) -> None:
    add(*jobs.make(NOON, text=[0.9, 0.1]))
    performances.measure(NOON)
    (found, _) = kept(modality="text")
    assert set(json.loads(json.dumps(found.classes))["10"]) == {"f1", "low", "high", "rows"}


def _midnight(day: int) -> datetime:
    return datetime(2026, 11, day, tzinfo=UTC)


def _months(rows: list[Performance]) -> list[Performance]:
    return [
        row
        for row in rows
        if row.begins_at and row.ends_at and row.ends_at - row.begins_at > timedelta(days=2)
    ]
