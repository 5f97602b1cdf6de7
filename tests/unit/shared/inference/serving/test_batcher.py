import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.inference.serving.batcher import Batcher
from tests.support.servers import until


class EchoModel:
    """Answers each number with itself; can be held up, and breaks on a negative number."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.is_open = threading.Event()
        self.is_open.set()

    def score(self, items: Sequence[int]) -> NDArray[np.float32]:
        self.calls.append(list(items))
        self.is_open.wait(10)
        if min(items) < 0:
            raise ArithmeticError("negative")
        return np.array([[item] for item in items], np.float32)


def make_batcher(model: EchoModel, max_batch: int = 64) -> Batcher[int]:
    return Batcher(model.score, max_batch=max_batch, max_wait_seconds=0.05)


def waiting(batcher: Batcher[int]) -> int:
    return batcher.waiting


def test_answers_come_back_in_the_order_of_the_items() -> None:
    assert make_batcher(EchoModel()).submit([3, 1, 2]).tolist() == [[3], [1], [2]]


def test_requests_that_wait_together_become_one_call() -> None:
    model = EchoModel()
    model.is_open.clear()
    batcher = make_batcher(model)
    with ThreadPoolExecutor(9) as threads:
        first = threads.submit(batcher.submit, [100])
        until(lambda: model.calls == [[100]], 5, "the first call runs")
        others = [threads.submit(batcher.submit, [i, i + 10]) for i in range(8)]
        until(lambda: waiting(batcher) == 8, 5, "the others wait")
        model.is_open.set()
        assert first.result(5).tolist() == [[100]]
        assert [other.result(5).tolist() for other in others] == [[[i], [i + 10]] for i in range(8)]
    assert len(model.calls) == 2
    assert len(model.calls[1]) == 16


def test_large_request_is_scored_in_parts() -> None:
    model = EchoModel()
    answer = make_batcher(model, max_batch=4).submit(list(range(10)))
    assert answer[:, 0].tolist() == list(range(10))
    assert [len(call) for call in model.calls] == [4, 4, 2]


def test_failure_of_one_request_of_a_batch_leaves_the_others() -> None:
    model = EchoModel()
    model.is_open.clear()
    batcher = make_batcher(model)
    with ThreadPoolExecutor(3) as threads:
        threads.submit(batcher.submit, [0])
        until(lambda: model.calls == [[0]], 5, "the first call runs")
        guilty, innocent = [threads.submit(batcher.submit, [number]) for number in (-1, 1)]
        until(lambda: waiting(batcher) == 2, 5, "the others wait")
        model.is_open.set()
        with pytest.raises(ArithmeticError, match="negative"):
            guilty.result(5)
        assert innocent.result(5).tolist() == [[1]]
    assert batcher.submit([7]).tolist() == [[7]]
    assert len(model.calls) == 5


def test_close_answers_what_was_submitted_before() -> None:
    model = EchoModel()
    model.is_open.clear()
    batcher = make_batcher(model)
    with ThreadPoolExecutor(3) as threads:
        requests = [threads.submit(batcher.submit, [1])]
        until(lambda: model.calls == [[1]], 5, "the first call runs")
        requests.append(threads.submit(batcher.submit, [2]))
        until(lambda: waiting(batcher) == 1, 5, "the second waits")
        closing = threads.submit(batcher.close)
        model.is_open.set()
        assert [request.result(5).tolist() for request in requests] == [[[1]], [[2]]]
        closing.result(5)


def test_request_on_an_idle_model_is_scored_without_waiting_for_others() -> None:
    batcher = Batcher(EchoModel().score, max_batch=64, max_wait_seconds=60)
    with ThreadPoolExecutor(1) as threads:
        for number in (1, 2):
            assert threads.submit(batcher.submit, [number]).result(10).tolist() == [[number]]


def test_batch_after_one_of_several_requests_waits_for_more() -> None:
    model = EchoModel()
    model.is_open.clear()
    batcher = Batcher(model.score, max_batch=2, max_wait_seconds=60)
    with ThreadPoolExecutor(5) as threads:
        sent = [threads.submit(batcher.submit, [0])]
        until(lambda: model.calls == [[0]], 5, "the first call runs")
        sent += [threads.submit(batcher.submit, [number]) for number in (1, 2)]
        until(lambda: waiting(batcher) == 2, 5, "the others wait")
        model.is_open.set()
        until(lambda: len(model.calls) == 2, 5, "they are scored together")
        sent.append(threads.submit(batcher.submit, [3]))
        until(lambda: waiting(batcher) == 0, 5, "the next one is taken")
        assert len(model.calls) == 2
        sent.append(threads.submit(batcher.submit, [4]))
        for one in sent:
            one.result(10)
    assert model.calls[2] == [3, 4]


def test_request_on_an_idle_model_is_scored_in_its_own_thread() -> None:
    threads: list[int] = []

    def score(items: Sequence[int]) -> NDArray[np.float32]:
        threads.append(threading.get_ident())
        return EchoModel().score(items)

    Batcher(score, max_batch=64, max_wait_seconds=0.05).submit([1])
    assert threads == [threading.get_ident()]


def test_as_many_calls_run_at_once_as_are_allowed() -> None:
    model = EchoModel()
    model.is_open.clear()
    batcher = Batcher(model.score, max_batch=64, max_wait_seconds=0, calls=2)
    with ThreadPoolExecutor(4) as threads:
        sent = [threads.submit(batcher.submit, [0])]
        until(lambda: len(model.calls) == 1, 5, "the first call runs")
        sent.append(threads.submit(batcher.submit, [1]))
        until(lambda: len(model.calls) == 2, 5, "the second call runs beside it")
        sent += [threads.submit(batcher.submit, [number]) for number in (2, 3)]
        until(lambda: batcher.waiting == 2, 5, "the others wait")
        model.is_open.set()
        assert [one.result(5).tolist() for one in sent] == [[[number]] for number in range(4)]
    assert len(model.calls) == 3


def test_each_of_many_concurrent_requests_gets_its_own_scores() -> None:
    batcher = Batcher(EchoModel().score, max_batch=8, max_wait_seconds=0.001, calls=2)
    with ThreadPoolExecutor(16) as threads:
        scores = list(threads.map(batcher.submit, [[number] for number in range(2_000)]))
    assert [one.tolist() for one in scores] == [[[number]] for number in range(2_000)]
    batcher.close()
