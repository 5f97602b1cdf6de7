"""Recent products without a label are written for a training."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from shared.db.migrations.upgrade import upgrade
from shared.db.models import new_id, now
from shared.db.session import UnitOfWork, open_engine
from shared.settings import DatabaseSettings
from tests.support.factories import make_job, make_user
from tests.support.fakes import FakeBroker
from trainer.runs.recent_answers import write_recent_answers


@pytest.fixture
def unit_of_work(tmp_path: Path) -> Iterator[UnitOfWork]:
    url = f"sqlite:///{tmp_path / 'rayon.db'}"
    upgrade(url)
    engine = open_engine(DatabaseSettings(url=SecretStr(url)))
    yield UnitOfWork(engine, FakeBroker())
    engine.dispose()


def add(unit_of_work: UnitOfWork, *jobs: dict[str, Any]) -> None:
    user = make_user(new_id())
    with unit_of_work() as work:
        work.session.add(user)
        work.session.flush()
        work.session.add_all([make_job(user, **fields) for fields in jobs])


def test_newest_answered_products_without_a_label_are_written(
    unit_of_work: UnitOfWork, tmp_path: Path
) -> None:
    done = {"status": "done", "finished_at": now()}
    older = {"status": "done", "finished_at": now() - timedelta(hours=1)}
    add(
        unit_of_work,
        {**older, "designation": "1234", "description": "Ancien\nlivre"},
        {**done, "designation": "Piscine", "is_foreign": False},
        {**done, "designation": "Labelled", "label": 10},
        {**done, "designation": "", "description": ""},
        {**done, "designation": "Foreign", "is_foreign": True},
        {"designation": "Queued"},
    )
    path = tmp_path / "run" / "answers.jsonl"
    assert write_recent_answers(unit_of_work, 10, path) == 2
    newest, second = (json.loads(line) for line in path.read_text("utf-8").splitlines())
    assert newest["designation"] == "Piscine"
    assert (second["designation"], second["description"]) == ("1234", "Ancien\nlivre")
    assert newest["answered_at"] - second["answered_at"] == pytest.approx(3_600, abs=60)
    assert write_recent_answers(unit_of_work, 1, path) == 1
    assert json.loads(path.read_text("utf-8"))["designation"] == "Piscine"
