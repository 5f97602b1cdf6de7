"""Queries of single jobs read no more rows the more jobs are stored."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy
from PIL import Image

from shared.db.models import User
from tests.support.factories import make_job
from tests.unit.gateway.conftest import Api

#: Parts of query plans that read all jobs, or all jobs of a user.
LINEAR = ("SCAN jobs", "ix_jobs_user_id_id (user_id=?)")


@pytest.fixture
def ada(api: Api) -> User:
    return api.user(username="ada")


@pytest.fixture
def hers(api: Api, ada: User) -> dict[str, str]:
    return api.sign(ada)


@contextmanager
def plans(api: Api) -> Iterator[dict[str, str]]:
    """Record the plan of each query of jobs, by statement."""
    asked: list[tuple[str, Any]] = []
    found: dict[str, str] = {}
    engine = api.unit_of_work.engine

    def note(_1: Any, _2: Any, statement: str, parameters: Any, _3: Any, is_many: bool) -> None:
        if " jobs" in statement and not is_many and not statement.startswith("INSERT"):
            asked.append((statement, parameters))

    sqlalchemy.event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        sqlalchemy.event.remove(engine, "before_cursor_execute", note)
    with engine.connect() as connection:
        for statement, parameters in asked:
            explained = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            found[statement] = str(explained.all())


def image() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("model", ["text", "fusion"])
def test_submission_and_polling_read_no_other_finished_jobs(
    api: Api, ada: User, hers: dict[str, str], model: str
) -> None:
    api.add(*(make_job(ada, status="done") for _ in range(20)))
    files = {"image": ("a.png", image())} if model == "fusion" else None
    with plans(api) as found:
        sent = api.client.post(
            "/v1/jobs", headers=hers, data={"designation": "x", "model": model}, files=files
        )
        assert sent.status_code == 202
        api.client.get(f"/v1/jobs/{sent.json()['id']}", headers=hers)
    assert found
    assert not [
        (statement, plan)
        for statement, plan in found.items()
        if any(part in plan for part in LINEAR)
    ]
