"""Scores of a release on held-out rows: measured, estimated, and cached."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from shared.categories import Category, CategorySet
from shared.errors import InvalidInput
from tests.support.tiny_release import write_tiny_release
from trainer.datasets.folder import Dataset
from trainer.monitoring.performance import held_out
from trainer.monitoring.performance.held_out import main, score

SHORT, LONG = "piscine", "piscine ronde avec pompe et filtre et echelle"


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return write_tiny_release(tmp_path / "release")


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    Image.new("RGB", (40, 30), "black").save(tmp_path / "black.png")
    black = str(tmp_path / "black.png")
    rows = [(SHORT, "", 10), (SHORT, "", 2583), (LONG, "", 2583), ("", black, 10), ("", black, 10)]
    frame = pd.DataFrame(rows, columns=["designation", "image", "code"])
    frame["description"], frame["part"] = "", "test"
    frame["has_text"] = frame["designation"] != ""
    both = Category(code=10, name="Livres"), Category(code=2583, name="Piscine")
    return Dataset(frame, CategorySet(categories=both), {})


def test_each_modality_is_scored_on_the_rows_that_have_it(
    release: Path, data: Dataset, tmp_path: Path
) -> None:
    found = score(release, data, tmp_path / "kept")
    assert {name: both["measured"]["rows"] for name, both in found.items()} == {
        "fusion": 5,
        "text": 3,
        "image": 2,
    }
    assert found["image"]["measured"]["f1"] == 1
    # One text per category is correct, and one of 2583 is mistaken for 10.
    assert found["text"]["measured"]["f1"] == pytest.approx(2 / 3)
    assert found["fusion"]["measured"]["by_class"]["2583"]["rows"] == 2
    for both in found.values():
        assert both["estimated"]["rows"] == both["measured"]["rows"]
        assert both["estimated"]["low"] < both["estimated"]["f1"]


def test_same_release_and_rows_are_scored_once(
    release: Path, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = score(release, data, tmp_path / "kept")
    monkeypatch.setattr(held_out, "scores", lambda *_: pytest.fail("scored again"))
    assert score(release, data, tmp_path / "kept") == first


def test_command_writes_the_figures_or_a_one_line_error(
    release: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "nice", lambda _step: 0)
    folder = tmp_path / "data"
    folder.mkdir()
    titles = [SHORT, LONG] * 20
    products = pd.DataFrame({"designation": titles, "description": "x"})
    products.assign(productid=1, imageid=1).to_csv(folder / "X_train_update.csv")
    pd.DataFrame({"prdtypecode": [10, 2583] * 20}).to_csv(folder / "Y_train_CVw08PX.csv")
    pd.DataFrame({"split": ["test"] * 4 + ["train"] * 36}).to_csv(folder / "splits.csv")
    out = tmp_path / "out" / "figures.json"
    options = [str(folder), "--out", str(out), "--kept", str(tmp_path / "kept")]
    assert main([str(release), *options]) == 0
    assert json.loads(out.read_text())["text"]["measured"]["f1"] == 1
    assert main([str(tmp_path), *options]) == 1
    assert "error: Expected release.json" in capsys.readouterr().err


def test_dataset_without_test_rows_is_an_error(
    release: Path, data: Dataset, tmp_path: Path
) -> None:
    none = Dataset(data.rows.assign(part="train"), data.categories, {})
    with pytest.raises(InvalidInput, match="at least one test row"):
        score(release, none, tmp_path / "kept")
