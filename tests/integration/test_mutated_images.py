"""Damaged images are used or refused, and none is ended at a limit."""

import random

import pytest

from shared.inference.preparation.decoders import Decoders, ordinary_limits
from tests.bench.limits.mutated_images import formats, outcome

COUNT = 100
FORMATS = formats()


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_images_are_used_or_refused(name: str) -> None:
    decoders = Decoders(ordinary_limits(1))
    found = outcome(decoders, FORMATS[name], COUNT, random.Random(f"1 {name}"))
    decoders.close()
    assert (found.faults, found.limits) == ([], [])
    assert found.used + found.refused == COUNT
    assert found.used
    assert found.refused
