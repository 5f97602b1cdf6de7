"""Latency is measured without the load of other programs."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from trainer.release.response_times import Clocks, measure_latency, undisturbed

BURNERS = 3 * (os.cpu_count() or 1)


def test_latency_of_an_idle_machine_is_the_wall_time() -> None:
    wall = np.array([100.0, 110, 120, 105])
    # Two threads, each busy for most of the time
    np.testing.assert_allclose(undisturbed(wall, wall * 1.8), wall, rtol=0.01)


def test_latency_under_load_is_that_of_an_idle_machine() -> None:
    # Given calls of 100 ms on two cores, nine of ten of which share the machine with others
    wall = np.array([100.0] + [868.0] * 9)
    cpu = np.full(10, 190.0)
    # Then all take as long as the one that was not disturbed
    np.testing.assert_allclose(undisturbed(wall, cpu), 100)


def test_slow_model_is_slow_on_an_idle_machine_too() -> None:
    wall = np.array([700.0, 720, 710])
    assert undisturbed(wall, wall).min() >= 700


def test_waiting_of_one_thread_is_not_counted_as_computing() -> None:
    # A call that waits for others nine tenths of its time
    assert undisturbed([500.0, 500.0], [50.0, 50.0]).tolist() == [50.0, 50.0]


class FakeClocks:
    """Wall and CPU clocks that a call sets forward; each single call is disturbed but the last."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0
        self.calls = 0

    def call(self, items: Sequence[object]) -> None:
        self.calls += 1
        self.cpu += 0.1
        self.wall += 0.1 if self.calls % 4 == 0 else 0.9


def test_candidate_is_measured_without_the_load_of_others() -> None:
    fake = FakeClocks()
    clocks = Clocks(wall=lambda: fake.wall, cpu=lambda: fake.cpu)
    latency, _ = measure_latency(fake.call, range(20), batch=20, clocks=clocks)
    assert latency == pytest.approx(100)


@pytest.fixture
def load() -> Iterator[None]:
    """Three busy processes for each core."""
    command = [sys.executable, "-c", "while True: pass"]
    burners = [subprocess.Popen(command) for _ in range(BURNERS)]
    yield
    for burner in burners:
        burner.kill()
        burner.wait()


@pytest.mark.usefixtures("load")
def test_measured_latency_is_far_below_the_wall_time_under_a_real_load() -> None:
    import time

    passed = []

    def call(_: Sequence[object]) -> None:
        started, used = time.perf_counter(), time.process_time()
        while time.process_time() - used < 0.05:
            sum(range(10_000))
        passed.append(time.perf_counter() - started)

    latency, _ = measure_latency(call, range(10), batch=10)
    # A call computes for 50 ms, whatever else runs.
    assert latency < 1.5 * 50
    assert float(np.median(passed)) * 1000 > latency
