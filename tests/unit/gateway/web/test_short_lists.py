"""Lists load only what they show, however long the rest of their rows is."""

from collections.abc import Iterator

import pytest
from sqlalchemy import event

from shared.db.models import DatasetVersion, Role
from tests.support.factories import make_job
from tests.unit.gateway.conftest import Api


@pytest.fixture
def statements(api: Api) -> Iterator[list[str]]:
    """Collect the statements that the gateway runs."""
    found: list[str] = []

    def record(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        found.append(statement)

    event.listen(api.unit_of_work.engine, "before_cursor_execute", record)
    yield found
    event.remove(api.unit_of_work.engine, "before_cursor_execute", record)


def test_list_of_jobs_does_not_load_their_texts(api: Api, statements: list[str]) -> None:
    user = api.user()
    mine = api.sign(user)
    api.add(make_job(user, description="x" * 50_000))
    statements.clear()
    answer = api.client.get("/v1/jobs", headers=mine)
    assert len(answer.json()["items"]) == 1
    assert any("FROM jobs" in statement for statement in statements)
    assert not any("jobs.description" in statement for statement in statements)


def test_list_of_datasets_does_not_load_their_reports(api: Api, statements: list[str]) -> None:
    operator = api.sign(api.user(Role.OPERATOR))
    asked = {"base": None, "files": [], "remove": ["1"] * 20_000, "corrected": False}
    api.add(DatasetVersion(name="shop", version=1, created_by="ada", asked=asked))
    statements.clear()
    answer = api.client.get("/v1/datasets", headers=operator)
    assert len(answer.json()["items"]) == 1
    assert any("FROM dataset_versions" in statement for statement in statements)
    assert not any("dataset_versions.asked" in statement for statement in statements)
    assert not any("dataset_versions.report" in statement for statement in statements)
