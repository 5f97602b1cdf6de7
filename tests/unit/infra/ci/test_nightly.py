"""A nightly training is asked for, followed, and told of."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from infra.ci.nightly import LOST_TRIES, ask, follow, report

RUN: dict[str, Any] = {
    "id": "r1",
    "status": "queued",
    "step": None,
    "dataset": "shop@2",
    "version": None,
    "verdict": None,
    "message": None,
    "log_tail": None,
}


def service(answers: Iterator[dict[str, Any] | int]) -> httpx.Client:
    """A service that gives these answers, one after the other; a number is an error's."""

    def answer(request: httpx.Request) -> httpx.Response:
        given = next(answers)
        if isinstance(given, int):
            return httpx.Response(given, json={"detail": "not now"})
        return httpx.Response(202 if request.method == "POST" else 200, json=given)

    return httpx.Client(transport=httpx.MockTransport(answer), base_url="http://rayon.test")


def followed(
    *answers: dict[str, Any] | int, seconds: float = 60
) -> tuple[dict[str, Any], list[str]]:
    told: list[str] = []
    run = follow(service(iter(answers)), RUN, seconds, 0, told.append)
    return run, told


def test_run_is_followed_to_its_end_and_each_step_printed_once() -> None:
    run, told = followed(
        RUN | {"status": "running", "step": "fit"},
        RUN | {"status": "running", "step": "fit"},
        RUN | {"status": "finished", "version": "7"},
    )
    assert run["version"] == "7"
    assert told == ["queued: waits for the trainer", "running: fit"]


def test_service_that_is_upgraded_meanwhile_is_retried() -> None:
    run, _ = followed(503, 502, RUN | {"status": "finished"})
    assert run["status"] == "finished"


def test_service_that_stays_away_is_given_up() -> None:
    with pytest.raises(httpx.HTTPStatusError):
        followed(*[503] * LOST_TRIES)


def test_run_that_is_not_done_in_time_is_left_alone() -> None:
    run, _ = followed(seconds=0)
    assert run["status"] == "queued"
    assert "not done in time" in report(run)


def test_refusal_is_printed_with_the_message_of_the_service() -> None:
    with pytest.raises(httpx.HTTPStatusError, match="not now"):
        ask(service(iter([403])), "nightly", None)


def test_summary_has_the_outcome_of_the_run() -> None:
    page = report(
        RUN | {"status": "finished", "version": "7", "verdict": {"gain": 0.01}, "message": "Better"}
    )
    assert "Training r1: finished" in page
    assert "release: 7" in page
    assert "gain: 0.01" in page
    assert "Better" in page


def test_summary_of_a_failure_has_the_last_log_lines() -> None:
    page = report(RUN | {"status": "failed", "log_tail": "MemoryError\n"})
    assert "```\nMemoryError\n```" in page
