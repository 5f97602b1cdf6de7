"""Tests of the threads of submissions: they take none of those of other requests."""

from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import select

from gateway.jobs.submitting import THREADS
from tests.support.servers import until
from tests.unit.gateway.conftest import Api


def test_submissions_that_wait_leave_threads_for_reading(api: Api, mine: dict[str, str]) -> None:
    def submit() -> int:
        data = {"designation": "title", "model": "text"}
        return api.client.post("/v1/jobs", headers=mine, data=data).status_code

    with ThreadPoolExecutor(THREADS + 5) as pool, api.unit_of_work() as work:
        # SQLite has one writer: all submissions wait for this transaction.
        work.session.execute(select(1))
        sent = [pool.submit(submit) for _ in range(THREADS + 5)]
        until(lambda: api.services.jobs.waiting >= THREADS - 1, 10, "submissions wait")
        with ThreadPoolExecutor(1) as reader:
            read = reader.submit(api.client.get, "/v1/jobs", headers=mine)
            assert read.result(10).status_code == 200
        assert not any(one.done() for one in sent)
        work.session.commit()
    assert {one.result() for one in sent} == {202}
