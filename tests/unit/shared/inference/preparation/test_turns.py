import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from shared.inference.preparation.turns import Turns
from tests.support.servers import until


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


class Scene:
    """One turn, taken by `busy` until `finish` is called, and what took a turn afterwards."""

    def __init__(self, threads: ThreadPoolExecutor, count: int = 1) -> None:
        self.threads, self.turns = threads, Turns(count)
        self.served: list[str] = []
        self.futures: list[Future[None]] = []
        self.finish = threading.Event()
        started = threading.Event()

        def hold() -> None:
            with self.turns.turn("busy"):
                started.set()
                self.finish.wait(30)

        self.futures.append(threads.submit(hold))
        assert started.wait(30)

    def wait_for_turn(self, key: str) -> None:
        before = self.turns.waiting

        def serve() -> None:
            with self.turns.turn(key):
                self.served.append(key)

        self.futures.append(self.threads.submit(serve))
        until(lambda: self.turns.waiting == before + 1, 30, "the block waits")

    def end(self) -> list[str]:
        self.finish.set()
        for future in self.futures:
            future.result(30)
        return self.served


def test_owners_take_turns(threads: ThreadPoolExecutor) -> None:
    scene = Scene(threads)
    for key in ("ann", "ann", "ann", "bob", "cid", "bob"):
        scene.wait_for_turn(key)
    assert scene.end() == ["ann", "bob", "cid", "ann", "bob", "ann"]


def test_free_turn_is_taken_at_once(threads: ThreadPoolExecutor) -> None:
    scene = Scene(threads, count=2)
    with scene.turns.turn("ann"):
        assert scene.turns.waiting == 0
    assert scene.end() == []


def test_block_that_fails_passes_its_turn_on(threads: ThreadPoolExecutor) -> None:
    turns = Turns(1)
    with pytest.raises(ValueError, match="in the block"), turns.turn("ann"):
        raise ValueError("in the block")
    assert threads.submit(lambda: turns.turn("bob").__enter__()).result(30) is None
