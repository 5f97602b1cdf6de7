"""Damaged files of each kind are read or refused by every reader."""

import random

import pytest

from tests.bench.limits.mutated_tables import kinds, outcome


@pytest.mark.parametrize(
    "kind", ["csv", "csv-cr", "backslash", "jsonl", "json", "xlsx", "zip", "images"]
)
def test_damaged_file_is_read_or_refused(kind: str) -> None:
    found = outcome(kinds()[kind], kind, 40, random.Random(7))
    assert found.faults == []
    assert found.differing == 0
    assert found.read + found.refused == 40
