"""Tests of the circuit breaker."""

import threading
from collections.abc import Iterator

import pytest

from shared.breaker import Breaker
from shared.errors import Unavailable
from tests.support.servers import until


class Store:
    """A store whose answers a test controls."""

    def __init__(self) -> None:
        self.probes = 0
        self.is_up = False
        self.may_answer = threading.Event()
        self.may_answer.set()

    def probe(self) -> None:
        self.probes += 1
        assert self.may_answer.wait(10)
        if not self.is_up:
            raise TimeoutError("no answer\nat all")


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store()
    yield store
    store.is_up = True
    store.may_answer.set()


@pytest.fixture
def breaker(store: Store) -> Breaker:
    return Breaker("test store", store.probe, pause=lambda _: threading.Event().wait(0.01))


def test_calls_pass_before_a_failure(breaker: Breaker, store: Store) -> None:
    breaker.require_closed()
    assert not breaker.is_open
    assert store.probes == 0


def test_calls_are_refused_after_a_failure_until_the_store_answers(
    breaker: Breaker, store: Store
) -> None:
    breaker.open("it hangs")
    with pytest.raises(Unavailable, match="The test store does not answer: it hangs") as refusal:
        breaker.require_closed()
    assert refusal.value.retry_after_seconds
    until(lambda: store.probes > 2, 10, "it is asked again and again")
    assert breaker.is_open
    store.is_up = True
    until(lambda: not breaker.is_open, 10, "it is used again")
    breaker.require_closed()


def test_many_failures_start_one_probe(breaker: Breaker, store: Store) -> None:
    store.may_answer.clear()
    failures = [threading.Thread(target=breaker.open, args=("it hangs",)) for _ in range(20)]
    for one in failures:
        one.start()
    for one in failures:
        one.join()
    until(lambda: store.probes > 0, 10, "it is asked")
    assert store.probes == 1
    store.is_up = True
    store.may_answer.set()
    until(lambda: not breaker.is_open, 10, "it is used again")


def test_suspected_store_is_refused_only_if_it_does_not_answer(
    breaker: Breaker, store: Store
) -> None:
    store.is_up = True
    breaker.suspect()
    until(lambda: store.probes == 1, 10, "it is asked")
    assert not breaker.is_open
    store.is_up = False
    until(lambda: _suspect(breaker), 10, "it is refused")
    with pytest.raises(Unavailable, match="no answer"):
        breaker.require_closed()


def _suspect(breaker: Breaker) -> bool:
    breaker.suspect()
    return breaker.is_open
