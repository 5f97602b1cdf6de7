"""Requests that come together share a transaction; each hears what came of its own."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.jobs.group_commit import GroupCommit


class Recorder:
    """Writes numbers; the first group is held until others wait."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.is_writing = threading.Event()
        self.may_go_on = threading.Event()

    def write(self, numbers: Sequence[int]) -> Sequence[str | Exception]:
        self.groups.append(list(numbers))
        if len(self.groups) == 1:
            self.is_writing.set()
            assert self.may_go_on.wait(10)
        if 13 in numbers:
            raise OSError("the disk is full")
        return [ValueError(f"odd: {one}") if one % 2 else f"kept {one}" for one in numbers]


def submitted(most: int, later: Sequence[int]) -> tuple[Recorder, dict[int, str | Exception]]:
    """Outcomes of 0, alone, and of others that come while it is being written."""
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
        recorder.may_go_on.set()
    return recorder, outcomes


def test_who_comes_while_another_is_written_shares_the_next_transaction() -> None:
    recorder, outcomes = submitted(16, [2, 4, 6])
    assert recorder.groups == [[0], [2, 4, 6]]
    assert outcomes == {number: f"kept {number}" for number in (0, 2, 4, 6)}


def test_groups_are_not_larger_than_allowed() -> None:
    recorder, outcomes = submitted(2, [2, 4, 6, 8, 10])
    assert recorder.groups == [[0], [2, 4], [6, 8], [10]]
    assert len(outcomes) == 6


def test_each_hears_of_its_own_failure() -> None:
    _, outcomes = submitted(16, [2, 3])
    assert outcomes[2] == "kept 2"
    assert str(outcomes[3]) == "odd: 3"


def test_a_transaction_that_fails_fails_for_all_of_it_and_no_other() -> None:
    recorder, outcomes = submitted(2, [2, 13, 4])
    assert [str(outcomes[number]) for number in (2, 13)] == ["the disk is full"] * 2
    assert (outcomes[0], outcomes[4]) == ("kept 0", "kept 4")
    assert recorder.groups == [[0], [2, 13], [4]]


def test_alone_nobody_is_waited_for() -> None:
    group: GroupCommit[int, str] = GroupCommit(lambda numbers: [str(one) for one in numbers], 16)
    assert group.submit(7) == "7"


def test_what_is_not_answered_is_an_error_and_not_an_endless_wait() -> None:
    group: GroupCommit[int, str] = GroupCommit(lambda _: [], 16)
    with pytest.raises(ValueError, match="zip"):
        group.submit(7)
