"""Tests of grouped calls: who shares one, and whose error is whose."""

import asyncio
import threading
from collections.abc import Sequence
from contextvars import ContextVar

import pytest

from gateway.jobs.grouped_calls import GroupedCalls

TRACE: ContextVar[str] = ContextVar("trace", default="none")


class Doubling:
    """Doubles numbers once it is released, and remembers the groups.

    Attributes:
        groups: Requests of each call.
        released: Calls wait until it is set.
    """

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.released = threading.Event()

    def __call__(self, numbers: Sequence[int]) -> list[int | Exception]:
        """Double each number; 13 is an error, and 666 breaks the call."""
        self.groups.append(list(numbers))
        if not self.released.wait(10):
            raise TimeoutError
        if 666 in numbers:
            raise OSError("The database hangs")
        return [ValueError("13") if one == 13 else 2 * one for one in numbers]


@pytest.fixture
def doubling() -> Doubling:
    return Doubling()


async def answers(
    doubling: Doubling, *numbers: int, most: int = 10, cancelled: Sequence[int] = ()
) -> list[int | BaseException]:
    """Ask for the first number, for the others during its call, and return the answers."""
    calls = GroupedCalls[int, int](doubling, most)
    tasks = [asyncio.create_task(calls.of(numbers[0]))]
    while not doubling.groups:
        await asyncio.sleep(0.001)
    tasks += [asyncio.create_task(calls.of(one)) for one in numbers[1:]]
    await asyncio.sleep(0)
    for position in cancelled:
        tasks[position].cancel()
    doubling.released.set()
    return await asyncio.gather(*tasks, return_exceptions=True)


def test_requests_during_a_call_share_the_next_one(doubling: Doubling) -> None:
    assert asyncio.run(answers(doubling, 1, 2, 3)) == [2, 4, 6]
    assert doubling.groups == [[1], [2, 3]]


def test_a_call_has_a_largest_group(doubling: Doubling) -> None:
    assert asyncio.run(answers(doubling, 1, 2, 3, 4, most=2)) == [2, 4, 6, 8]
    assert doubling.groups == [[1], [2, 3], [4]]


def test_an_error_is_that_of_its_request_alone(doubling: Doubling) -> None:
    found = asyncio.run(answers(doubling, 1, 13, 3))
    assert found[0] == 2
    assert isinstance(found[1], ValueError)
    assert found[2] == 6


def test_a_call_that_fails_is_the_error_of_its_requests_and_the_next_one_is_made(
    doubling: Doubling,
) -> None:
    found = asyncio.run(answers(doubling, 666, 2, 3))
    assert isinstance(found[0], OSError)
    assert found[1:] == [4, 6]


def test_a_cancelled_request_is_not_asked_and_disturbs_no_other(doubling: Doubling) -> None:
    found = asyncio.run(answers(doubling, 1, 2, 3, cancelled=[0, 1]))
    assert isinstance(found[0], asyncio.CancelledError)
    assert isinstance(found[1], asyncio.CancelledError)
    assert found[2] == 6
    assert doubling.groups == [[1], [3]]


def test_calls_work_in_one_event_loop_after_another(doubling: Doubling) -> None:
    doubling.released.set()
    calls = GroupedCalls[int, int](doubling, 10)
    assert [asyncio.run(calls.of(number)) for number in (1, 2)] == [2, 4]


def test_a_call_has_the_context_of_none_of_its_requests() -> None:
    async def seen() -> str:
        TRACE.set("mine")
        return await GroupedCalls[int, str](lambda _: [TRACE.get()], 10).of(1)

    assert asyncio.run(seen()) == "none"
