"""Tests of the guard of the registry: few calls at once, and none while MLflow hangs."""

from contextlib import ExitStack

import pytest
from mlflow.exceptions import MlflowException, RestException

from shared.errors import NotFound, Unavailable
from shared.inference.releases.guard import MOST_CALLS, Guard
from shared.inference.releases.mlflow_answers import unavailable_if_down
from tests.support.servers import until


class Registry:
    """Answers probes once it is up."""

    is_up = False

    def probe(self) -> None:
        if not self.is_up:
            raise TimeoutError("no answer")


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def guard(registry: Registry) -> Guard:
    return Guard(registry.probe)


def fail(guard: Guard, error: Exception) -> None:
    with pytest.raises(Unavailable), guard, unavailable_if_down():
        raise error


def test_no_call_is_made_after_a_failure_until_it_answers(guard: Guard, registry: Registry) -> None:
    fail(guard, MlflowException("Read timed out"))
    with pytest.raises(Unavailable, match="model registry does not answer: Read timed out"), guard:
        pytest.fail("a call was made")
    registry.is_up = True
    until(lambda: _is_open(guard), 10, "calls are made again")


def test_error_that_it_answers_with_refuses_no_further_call(guard: Guard) -> None:
    fail(guard, RestException({"error_code": "INTERNAL_ERROR", "message": "a bug"}))
    with pytest.raises(NotFound), guard:
        raise NotFound("No release '9'")
    assert _is_open(guard)


def test_calls_at_once_are_bounded(guard: Guard) -> None:
    with ExitStack() as stack:
        for _ in range(MOST_CALLS):
            stack.enter_context(guard)
        with pytest.raises(Unavailable, match=f"at most {MOST_CALLS} calls"), guard:
            pytest.fail("a call was made")
    assert _is_open(guard)


def _is_open(guard: Guard) -> bool:
    try:
        with guard:
            return True
    except Unavailable:
        return False
