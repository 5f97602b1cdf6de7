"""Releases are compared as served: each row is answered by its text, its image, or both."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from shared.categories import Category, CategorySet
from shared.contracts import Modality
from shared.errors import InvalidInput
from tests.support.factories import make_manifest
from tests.support.tiny_release import write_tiny_release
from trainer.datasets.folder import Dataset
from trainer.release import comparison as contest_module
from trainer.release.category_overlap import NO_ANSWER
from trainer.release.comparison import answers, contest, main
from trainer.release.loaded import release_digest
from trainer.release.paired_bootstrap import Rule

RULE = Rule(margin=0.002, confidence=0.95)
#: The tiny text model assigns short texts to category 10 and long ones to 2583.
SHORT, LONG = "piscine", "piscine ronde avec pompe et filtre et echelle"
#: The text model has low confidence here; a white image outweighs it.
MIDDLING = "piscine ronde avec pompe"


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return write_tiny_release(tmp_path / "release")


@pytest.fixture
def images(tmp_path: Path) -> dict[str, str]:
    for name in ("black", "white"):
        Image.new("RGB", (40, 30), name).save(tmp_path / f"{name}.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    return {name: str(tmp_path / f"{name}.png") for name in ("black", "white", "broken")} | {"": ""}


def dataset(rows: list[tuple[str, str, int]]) -> Dataset:
    """Return test rows of title, image and code."""
    frame = pd.DataFrame(rows, columns=["designation", "image", "code"])
    frame["description"], frame["part"] = "", "test"
    frame["has_text"] = frame["designation"] != ""
    both = Category(code=10, name="Livres"), Category(code=2583, name="Piscine")
    return Dataset(frame, CategorySet(categories=both), {})


def test_each_row_is_answered_by_its_modalities(release: Path, images: dict[str, str]) -> None:
    data = dataset(
        [
            (SHORT, "", 10),
            (LONG, "", 2583),
            ("", images["black"], 10),
            ("", images["white"], 2583),
            (MIDDLING, images["white"], 2583),
            (MIDDLING, "", 10),
            (LONG, images["broken"], 2583),
            ("", images["broken"], 10),
            ("", "", 10),
        ]
    )
    found = answers(release, data).tolist()
    assert found == [10, 2583, 10, 2583, 2583, 10, 2583, NO_ANSWER]


@pytest.mark.parametrize(
    ("modality", "expected"),
    [(Modality.TEXT, [10, NO_ANSWER, 2583]), (Modality.IMAGE, [NO_ANSWER, 2583, 10])],
)
def test_release_of_one_modality_answers_rows_of_that_modality(
    tmp_path: Path, images: dict[str, str], modality: Modality, expected: list[int]
) -> None:
    data = dataset([(SHORT, "", 10), ("", images["white"], 2583), (LONG, images["black"], 2583)])
    folder = write_tiny_release(tmp_path / "one", modalities=[modality])
    assert answers(folder, data).tolist() == expected


def test_release_of_another_category_set_is_compared_by_code(release: Path, tmp_path: Path) -> None:
    data = dataset([(SHORT, "", 10), (LONG, "", 2583)] * 50)
    other = write_tiny_release(tmp_path / "other")
    strangers = Category(code=7, name="Bateaux"), Category(code=2583, name="Piscine")
    make_manifest("other", categories=strangers).write(other)
    found = contest(other, release, data, RULE, kept=tmp_path / "kept")
    assert (found["challenger_f1"], found["outcome"]) == (1.0, "better")
    # On the category that both know they are equal; the other one is new
    assert (found["champion_f1"], found["rows"]) == (1.0, 50)
    assert (found["new_rows"], found["new_f1"]) == (50, 1.0)


def test_answers_are_cached(release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = dataset([(SHORT, "", 10), (LONG, "", 2583)])
    kept = tmp_path / "kept"
    first = contest(release, release, data, RULE, kept=kept)
    monkeypatch.setattr(contest_module, "answers", lambda *_: pytest.fail("computed again"))
    assert contest(release, release, data, RULE, kept=kept) == first
    assert len(list(kept.iterdir())) == 1


def test_digest_covers_models_and_categories_but_not_time(release: Path, tmp_path: Path) -> None:
    same = write_tiny_release(tmp_path / "elsewhere")
    # The same models with another name, time and model card
    make_manifest("another", created_at=datetime(2030, 1, 1, tzinfo=UTC)).write(same)
    (same / "MODEL_CARD.md").write_text("made again")
    assert release_digest(release) == release_digest(same)
    # Other categories, and another model
    strangers = Category(code=7, name="Bateaux"), Category(code=2583, name="Piscine")
    make_manifest(categories=strangers).write(same)
    assert release_digest(release) != release_digest(same)
    make_manifest().write(same)
    (same / "text/model.onnx").write_bytes(b"another")
    assert release_digest(release) != release_digest(same)


def test_data_without_askable_rows_is_an_error(release: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="at least one row"):
        contest(release, release, dataset([("", "", 10)]), RULE, kept=tmp_path)


def test_command_writes_the_verdict_or_prints_one_error_line(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    products = pd.DataFrame(
        {"designation": [SHORT, LONG] * 20, "description": "x", "productid": 1, "imageid": 1}
    )
    products.to_csv(data / "X_train_update.csv")
    pd.DataFrame({"prdtypecode": [10, 2583] * 20}).to_csv(data / "Y_train_CVw08PX.csv")
    pd.DataFrame({"split": ["test"] * 4 + ["train"] * 36}).to_csv(data / "splits.csv")
    out = tmp_path / "verdict.json"
    options = ["--out", str(out), "--kept", str(tmp_path / "kept")]
    options += ["--margin", "0.002", "--confidence", "0.95"]
    assert main([str(release), str(release), str(data), *options]) == 0
    verdict = json.loads(out.read_text())
    assert (verdict["outcome"], verdict["rows"]) == ("undecided", 4)
    assert verdict["sentence"].startswith("Undecided: weighted F1 1.0000 against 1.0000")
    assert main([str(tmp_path), str(release), str(data), *options]) == 1
    assert "error: Expected release.json" in capsys.readouterr().err


def test_data_without_any_image_is_answered_by_text(release: Path) -> None:
    np.testing.assert_array_equal(answers(release, dataset([(SHORT, "", 10)])), [10])
