"""Shared fixtures."""

from typing import cast

import pytest

from trainer.candidates.folds import out_of_fold


@pytest.fixture
def one_division(monkeypatch: pytest.MonkeyPatch) -> None:
    """Divide rows into folds once instead of three times: a third of the time."""
    monkeypatch.setitem(cast("dict[str, int]", out_of_fold.__kwdefaults__), "repeats", 1)
