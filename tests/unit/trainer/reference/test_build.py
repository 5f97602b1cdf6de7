"""True categories of the products of a drift reference."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from tests.unit.trainer.monitoring.products import make_products
from trainer.reference.build import true_columns
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
