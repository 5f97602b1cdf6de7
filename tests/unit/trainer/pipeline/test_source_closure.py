"""The closure of a step's code follows the real imports, without importing anything."""

import importlib.util

import pytest

from trainer.candidates.calibration import fit_temperature
from trainer.candidates.fusion.pools import LogLinear
from trainer.pipeline.source_closure import NOT_DECIDING, SourceClosure, module_of


def test_closure_contains_direct_and_indirect_imports() -> None:
    assert SourceClosure().modules([LogLinear()]) == {
        "shared.inference.releases.fusion_model",
        "trainer.candidates.calibration",
        "trainer.candidates.fusion.pools",
    }


@pytest.mark.parametrize("computed_by", [LogLinear, LogLinear(), LogLinear.fit])
def test_module_is_found_from_class_instance_and_function(computed_by: object) -> None:
    assert module_of(computed_by) == "trainer.candidates.fusion.pools"


def test_hashes_of_several_entries_are_united() -> None:
    closure = SourceClosure()
    both = closure.hashes([LogLinear, fit_temperature])
    assert both == closure.hashes([LogLinear]) | closure.hashes([fit_temperature])
    assert all(len(digest) == 16 for digest in both.values())


def test_modules_that_decide_nothing_exist() -> None:
    assert all(importlib.util.find_spec(name) for name in NOT_DECIDING)
