"""Tests of group commit: concurrent requests share a transaction and keep their own results."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.jobs.group_commit import GroupCommit
from shared.errors import Unavailable


class Recorder:
    """Writes numbers, and blocks in the first group until others wait."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.is_writing = threading.Event()
        self.may_continue = threading.Event()

    def write(self, numbers: Sequence[int]) -> Sequence[str | Exception]:
        self.groups.append(list(numbers))
        if len(self.groups) == 1:
            self.is_writing.set()
            assert self.may_continue.wait(10)
        if 13 in numbers:
            raise OSError("the disk is full")
        if 26 in numbers:
            raise Unavailable("the database does not answer")
        return [ValueError(f"odd: {one}") if one % 2 else f"kept {one}" for one in numbers]


def submitted(most: int, later: Sequence[int]) -> tuple[Recorder, dict[int, str | Exception]]:
    """Submit 0 alone and the others while it is written. Return the outcomes by number."""
    recorder = Recorder()
    group: GroupCommit[int, str] = GroupCommit(recorder.write, most=most)
    outcomes: dict[int, str | Exception] = {}

    def submit(number: int) -> None:
        try:
            outcomes[number] = group.submit(number)
        except Exception as error:
            outcomes[number] = error

    with ThreadPoolExecutor(len(later) + 1) as pool:
        pool.submit(submit, 0)
        assert recorder.is_writing.wait(10)
        for position, number in enumerate(later, start=1):
            pool.submit(submit, number)
            while group.waiting < position:
                pass
        recorder.may_continue.set()
    return recorder, outcomes


def test_requests_during_a_transaction_share_the_next_one() -> None:
    recorder, outcomes = submitted(16, [2, 4, 6])
    assert recorder.groups == [[0], [2, 4, 6]]
    assert outcomes == {number: f"kept {number}" for number in (0, 2, 4, 6)}


def test_groups_do_not_exceed_the_maximum_size() -> None:
    recorder, outcomes = submitted(2, [2, 4, 6, 8, 10])
    assert recorder.groups == [[0], [2, 4], [6, 8], [10]]
    assert len(outcomes) == 6


def test_each_request_gets_its_own_error() -> None:
    _, outcomes = submitted(16, [2, 3])
    assert outcomes[2] == "kept 2"
    assert str(outcomes[3]) == "odd: 3"


def test_failure_of_one_job_of_a_group_leaves_the_others() -> None:
    recorder, outcomes = submitted(16, [2, 13, 4])
    assert str(outcomes[13]) == "the disk is full"
    assert (outcomes[0], outcomes[2], outcomes[4]) == ("kept 0", "kept 2", "kept 4")
    assert recorder.groups == [[0], [2, 13, 4], [2], [13], [4]]


def test_failures_of_later_groups_stay_apart() -> None:
    recorder, outcomes = submitted(2, [2, 13, 4])
    assert str(outcomes[13]) == "the disk is full"
    assert (outcomes[0], outcomes[2], outcomes[4]) == ("kept 0", "kept 2", "kept 4")
    assert recorder.groups == [[0], [2, 13], [2], [13], [4]]


def test_database_that_does_not_answer_is_asked_once() -> None:
    recorder, outcomes = submitted(16, [2, 26, 4])
    assert [str(outcomes[number]) for number in (2, 26, 4)] == ["the database does not answer"] * 3
    assert recorder.groups == [[0], [2, 26, 4]]


def test_database_that_stops_to_answer_is_not_asked_again() -> None:
    recorder, outcomes = submitted(16, [13, 26, 4])
    assert str(outcomes[13]) == "the disk is full"
    assert [str(outcomes[number]) for number in (26, 4)] == ["the database does not answer"] * 2
    assert recorder.groups == [[0], [13, 26, 4], [13], [26]]


def test_single_request_is_written_at_once() -> None:
    group: GroupCommit[int, str] = GroupCommit(lambda numbers: [str(one) for one in numbers], 16)
    assert group.submit(7) == "7"


def test_missing_result_is_an_error_and_not_an_endless_wait() -> None:
    group: GroupCommit[int, str] = GroupCommit(lambda _: [], 16)
    with pytest.raises(ValueError, match="zip"):
        group.submit(7)
