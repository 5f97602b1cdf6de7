"""The guard names what became slower, and nothing that differs by chance."""

import numpy as np
import pytest

from tests.bench.load.guard import compared, table

STORED = [0.50, 0.52, 0.48, 0.51, 0.49, 0.50, 0.53]


@pytest.mark.parametrize(
    ("now", "is_slower"),
    [
        ([one * 0.8 for one in STORED], True),
        ([one * 0.95 for one in STORED], False),
        ([one * 1.2 for one in STORED], False),
        # One slow round says nothing.
        ([*STORED[:-1], 0.05], False),
        # A lower median within the noise of the rounds.
        ([0.30, 0.44, 0.55, 0.44, 0.54, 0.44, 0.52], False),
    ],
)
def test_only_a_fall_beyond_noise_is_slower(now: list[float], *, is_slower: bool) -> None:
    verdict = compared(STORED, now)
    assert verdict.is_slower is is_slower
    assert verdict.low <= verdict.ratio <= verdict.high
    lines = table({"texts, 64 clients": verdict})
    assert lines[1].endswith("SLOWER") is is_slower


def test_rounds_of_one_distribution_are_seldom_slower() -> None:
    random = np.random.default_rng(0)
    rounds = random.lognormal(0, 0.15, (200, 2, 7))
    named = sum(compared(list(stored), list(now)).is_slower for stored, now in rounds)
    assert named <= 5
