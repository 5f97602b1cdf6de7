"""Queries of the monitor on the jobs table use an index."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy.orm import Session

from shared.db.session import UnitOfWork
from tests.unit.gateway import conftest as gateway
from trainer.monitoring.drift import window_products
from trainer.monitoring.performance import answers, changed_texts, reviews
from trainer.monitoring.performance.periods import Period

broker, migrated, unit_of_work = gateway.broker, gateway.migrated, gateway.unit_of_work

NOON = datetime(2026, 3, 5, 12, tzinfo=UTC)
DAY = Period.day(NOON)


@pytest.mark.parametrize(
    ("run_query", "index"),
    [
        pytest.param(
            lambda session: window_products.next_answers(session, "1", None, 10),
            "ix_jobs_release_finished_at (release=? AND finished_at<?)",
            id="first window",
        ),
        pytest.param(
            lambda session: window_products.next_answers(session, "1", NOON, 10),
            "ix_jobs_release_finished_at (release=? AND finished_at>? AND finished_at<?)",
            id="next window",
        ),
        pytest.param(
            lambda session: reviews._answers(session, DAY),
            "ix_jobs_status_finished_at (status=? AND finished_at>? AND finished_at<?)",
            id="a day's answers",
        ),
        pytest.param(
            lambda session: changed_texts.products_before(session, DAY.ends_at),
            "ix_jobs_status_finished_at (status=? AND finished_at>? AND finished_at<?)",
            id="products of before a change",
        ),
        pytest.param(
            lambda session: answers.releases_of(session, DAY),
            "ix_jobs_status_finished_at (status=? AND finished_at>? AND finished_at<?)",
            id="a day's releases",
        ),
    ],
)
def test_answers_of_a_period_are_found_by_an_index(
    unit_of_work: UnitOfWork, run_query: Callable[[Session], Any], index: str
) -> None:
    executed: list[tuple[str, Any]] = []

    def record(_1: Any, _2: Any, statement: str, parameters: Any, _3: Any, _4: Any) -> None:
        executed.append((statement, parameters))

    engine = unit_of_work.engine
    sqlalchemy.event.listen(engine, "before_cursor_execute", record)
    with unit_of_work.reading() as session:
        run_query(session)
    sqlalchemy.event.remove(engine, "before_cursor_execute", record)
    with engine.connect() as connection:
        statement, parameters = next(query for query in executed if "jobs" in query[0])
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        assert any(index in str(row) for row in plan)
