"""Tests of submissions that wait: they hold up no other requests."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from gateway.jobs.submitting import THREADS
from tests.support.servers import until
from tests.unit.gateway.conftest import Api


@pytest.mark.parametrize("has_key", [True, False], ids=["threads of their own", "grouped"])
def test_submissions_that_wait_do_not_hold_up_reading(
    api: Api, mine: dict[str, str], has_key: bool
) -> None:
    numbers = itertools.count()

    def submit() -> int:
        data = {"designation": "title", "model": "text"}
        key = {"Idempotency-Key": f"key-{next(numbers)}"} if has_key else {}
        return api.client.post("/v1/jobs", headers=mine | key, data=data).status_code

    with ThreadPoolExecutor(THREADS + 5) as pool, api.unit_of_work() as work:
        # SQLite has one writer: all submissions wait for this transaction.
        work.session.execute(select(1))
        sent = [pool.submit(submit) for _ in range(THREADS + 5)]
        # The first transaction has the submissions that it began with, the others wait for it.
        most = THREADS - 1 if has_key else 1
        until(lambda: api.waiting >= most, 10, "submissions wait")
        with ThreadPoolExecutor(1) as reader:
            read = reader.submit(api.client.get, "/v1/jobs", headers=mine)
            assert read.result(10).status_code == 200
        assert not any(one.done() for one in sent)
        work.session.commit()
    assert {one.result() for one in sent} == {202}


@pytest.mark.parametrize("name", ["release", "\\u0072elease"], ids=["plain", "escaped"])
def test_a_release_that_the_registry_looks_up_holds_up_no_other_submission(
    api: Api, mine: dict[str, str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    is_asked, may_answer = threading.Event(), threading.Event()

    def version_of(_name: str) -> str:
        is_asked.set()
        assert may_answer.wait(20)
        return "1"

    monkeypatch.setattr(api.services.releases, "version_of", version_of)
    headers = mine | {"Content-Type": "application/json"}
    slow = f'{{"designation": "slow", "{name}": "other"}}'.encode()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(api.client.post, "/v1/jobs", headers=headers, content=slow)
        assert is_asked.wait(10)
        second = pool.submit(api.client.post, "/v1/jobs", headers=mine, data={"designation": "x"})
        try:
            assert second.result(10).status_code == 202
            assert not first.done()
        finally:
            may_answer.set()
        assert first.result(10).status_code == 202
