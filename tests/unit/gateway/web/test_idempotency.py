"""Tests of requests with an Idempotency-Key, alone and concurrent."""

from collections.abc import Callable
from typing import Never

import pytest
from sqlalchemy.exc import IntegrityError

from gateway.web.idempotency import require_same_content, run_once
from shared.errors import Conflict

COLLISION = IntegrityError("insert", {}, Exception("the key is taken"))


def answers(*found: str | None) -> Callable[[], str | None]:
    """Return a function that returns the next result at each call."""
    return iter(found).__next__


def collide() -> Never:
    raise COLLISION


def test_new_key_runs_the_request() -> None:
    assert run_once(answers(None), lambda: "mine") == "mine"


def test_known_key_returns_the_stored_result_without_running_again() -> None:
    assert run_once(answers("earlier"), collide) == "earlier"


def test_request_that_loses_the_race_returns_the_result_of_the_winner() -> None:
    assert run_once(answers(None, "winner"), collide) == "winner"


def test_violation_of_another_constraint_is_raised() -> None:
    with pytest.raises(IntegrityError) as raised:
        run_once(answers(None, None), collide)
    assert raised.value is COLLISION


def test_request_that_loses_the_race_with_other_content_conflicts() -> None:
    calls = iter([None, "other"])

    def find_result() -> str | None:
        result = next(calls)
        if result is not None:
            require_same_content("order-1", kept=result, sent="mine")
        return result

    with pytest.raises(Conflict, match="'order-1', which was used with other content"):
        run_once(find_result, collide)


def test_same_content_is_accepted() -> None:
    require_same_content("order-1", kept="one", sent="one")
