"""True categories of the products of a drift reference."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from shared.errors import InvalidInput
from shared.inference.manifest import ReleaseManifest
from tests.unit.trainer.monitoring.products import make_products
from trainer.reference.build import HELD_OUT, held_out_from, true_columns
from trainer.reference.sample import Sample


def test_categories_that_no_person_stated_or_the_release_lacks_are_unknown() -> None:
    parts = ["test", "validation", "weak_held", "test"]
    rows = pd.DataFrame({"code": [2583, 10, 10, 77], "part": parts})
    assert true_columns(rows, (10, 2583)).tolist() == [1, 0, -1, -1]


def test_true_categories_are_stored_with_the_reference(tmp_path: Path) -> None:
    sample = make_products(60).sample()
    sample.save(tmp_path)
    earlier = Sample.load(tmp_path)
    assert earlier is not None
    assert earlier.truth is None
    truth = np.arange(60) % 3 - 1
    replace(sample, truth=truth).save(tmp_path)
    found = Sample.load(tmp_path)
    assert found is not None
    assert found.truth is not None
    assert found.truth.tolist() == truth.tolist()


@pytest.mark.parametrize(
    ("figures", "parts"),
    [
        ({}, HELD_OUT),
        ({"final_fit_rows": 0.0}, HELD_OUT),
        ({"final_fit_rows": 40.0, "final_fit_test_rows": 0.0}, ("test",)),
    ],
)
def test_release_is_scored_on_products_that_it_has_not_learnt_from(
    figures: dict[str, float], parts: tuple[str, ...]
) -> None:
    assert held_out_from(ReleaseManifest.model_construct(figures=figures)) == parts


def test_release_that_has_learnt_from_all_products_is_refused() -> None:
    figures = {"final_fit_rows": 50.0, "final_fit_test_rows": 10.0}
    release = ReleaseManifest.model_construct(name="shop", figures=figures)
    with pytest.raises(InvalidInput, match="Received: shop, which has learnt from all of them"):
        held_out_from(release)
