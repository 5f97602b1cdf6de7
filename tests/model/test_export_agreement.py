"""An export is compared with the fitted parts, and takes a finer form where they differ."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.categories import Category
from shared.inference.manifest import ImagePart, ReleaseManifest, TextPart
from shared.inference.releases.fusion_model import FusionModel
from shared.inference.releases.image_model import Head
from tests.model.test_image_candidates import context_of
from tests.model.test_text_candidates import WORDS
from trainer.candidates.calibration import softmax
from trainer.candidates.image.backbone import BACKBONE, export_backbone
from trainer.candidates.onnx.graph import Graph, Storage
from trainer.candidates.protocols import Labels
from trainer.candidates.text.ngrams import FILE, TextNgrams
from trainer.pipeline.agreement import Form, HeldOut, compare, forms_as_markdown, write_agreeing
from trainer.pipeline.export import ReleaseContents, export_release
from trainer.pipeline.fitting import Part
from trainer.release.loaded import TextModel

ROWS, CLASSES, WIDTH = 120, 3, 400


def contents_of(**parts: Any) -> ReleaseContents:
    categories = tuple(Category(code=code, name=str(code)) for code in (10, 20, 30))
    empty = {"text": (), "image": (), "fusion": None}
    return ReleaseContents(
        name="test", categories=categories, trained_on="rows of a test", **(empty | parts)
    )


def export(
    contents: ReleaseContents, folder: Path, held: dict[str, HeldOut], storage: Storage = "int8"
) -> tuple[list[Form], list[str]]:
    lines: list[str] = []
    return export_release(contents, folder / "release", storage, held, lines.append), lines


@dataclass(frozen=True)
class LopsidedHead:
    """A linear head, one of whose weights takes the range of 8 bits from all others."""

    kernel: Any
    name: str = "image_lopsided"
    network: str = "lopsided"
    size: int = 32

    def export(self, graph: Graph, folder: Path) -> str:
        return graph.dense("features", self.kernel, np.zeros(CLASSES, np.float32))


@pytest.fixture
def backbone(tmp_path: Path) -> Path:
    import keras

    pixels = keras.Input((32, 32, 3))
    value = keras.layers.Dense(WIDTH)(keras.layers.GlobalAveragePooling2D()(pixels))
    export_backbone(keras.Model(pixels, value), 32, tmp_path / BACKBONE, "float32")
    return tmp_path


@pytest.mark.parametrize(
    ("outlier", "offset", "form"),
    [
        (1.0, 0.0, "int8"),
        (2_000.0, 0.0, "float16"),
        (1e6, 0.0, "float16"),
        # Half precision has steps of 4 here.
        (1.0, 5_000.0, "float32"),
    ],
)
def test_head_with_an_outlying_weight_takes_a_finer_form(
    backbone: Path, tmp_path: Path, outlier: float, offset: float, form: Storage
) -> None:
    # Given a head with one weight far above the others, on a feature that is always 0
    generator = np.random.default_rng(0)
    kernel = (offset + generator.normal(0, 1, (WIDTH, CLASSES))).astype(np.float32)
    kernel[0] += outlier
    features = generator.normal(0, 1, (ROWS, WIDTH)).astype(np.float16)
    features[:, 0] = 0
    fitted = softmax(features.astype(np.float32) @ kernel)
    targets = fitted.argmax(axis=1)
    held = HeldOut(fitted, targets, lambda folder, part: Head(folder, part).score(features))
    # When it is exported in 8 bits
    parts = (Part(LopsidedHead(kernel), backbone),)
    forms, lines = export(contents_of(image=parts), tmp_path, {"image": held})
    # Then it ships in the smallest form that answers as the fitted head
    assert [one.storage for one in forms] == [form]
    assert forms[0].agrees
    assert any(f"image in {form}: " in line for line in lines)
    assert sum("not enough" in line for line in lines) == ("int8", "float16", "float32").index(form)
    release = tmp_path / "release"
    part = ReleaseManifest.read(release).image_part
    assert isinstance(part, ImagePart)
    assert (Head(release, part).score(features).argmax(axis=1) == targets).mean() >= 0.99


def test_text_model_with_an_outlying_category_takes_a_finer_form(tmp_path: Path) -> None:
    # Given n-grams, of which one category has far larger weights than the others have
    generator = np.random.default_rng(1)
    texts = [" ".join(generator.choice(WORDS[row % 3].split(), 4)) for row in range(ROWS)]
    labels = Labels(np.arange(ROWS) % 3, np.ones(ROWS, np.float32), 3)
    candidate = TextNgrams()
    context = context_of("int8")
    candidate.fit(texts, labels, tmp_path, tmp_path, context)
    with np.load(tmp_path / FILE) as kept:
        arrays = {name: kept[name] for name in kept.files}
    # A weight that all texts share decides nothing, but takes the range of 8 bits.
    shift = np.where(arrays["planes"].any(axis=1), 500.0, 0.0).astype(np.float32)
    arrays["planes"] = arrays["planes"] + shift[:, None]
    np.savez(tmp_path / FILE, **arrays)
    fitted = softmax(candidate.predict(texts, tmp_path))

    def score(folder: Path, part: TextPart) -> Any:
        return TextModel(folder, part).score(texts)

    held = HeldOut(fitted, labels.targets, score)
    # When it is exported in 8 bits
    parts = (Part(candidate, tmp_path),)
    forms, lines = export(contents_of(text=parts), tmp_path, {"text": held})
    # Then it ships in a finer form that agrees
    assert forms[0].storage in ("float16", "float32")
    assert forms[0].agrees
    assert lines[0].startswith("text in int8: ")
    assert lines[0].endswith(": not enough")


def test_fusion_is_compared_too(tmp_path: Path) -> None:
    generator = np.random.default_rng(2)
    text, image = (softmax(generator.normal(0, 1, (ROWS, 3)).astype(np.float32)) for _ in range(2))
    fusion = FusionModel(np.ones(3, np.float32), np.ones(3, np.float32), np.zeros(3, np.float32))
    fitted = fusion.combine(text, image)

    def score(folder: Path, _part: None) -> Any:
        return FusionModel.load(folder / "fusion").combine(text, image)

    held = HeldOut(fitted, fitted.argmax(axis=1), score)
    (tmp_path / "fusion").mkdir()

    def write(_: Storage) -> None:
        fusion.save(tmp_path / "fusion")

    _, form = write_agreeing("fusion", tmp_path, "float32", write, held, print)
    assert form is not None
    assert (form.part, form.agreement) == ("fusion", 1.0)


def test_answers_that_are_not_numbers_agree_with_nothing() -> None:
    fitted = np.eye(3, dtype=np.float32)
    exported = np.full((3, 3), np.nan, np.float32)
    found = compare("image", "int8", fitted, exported, np.arange(3))
    assert (found.agreement, found.exported_f1) == (0.0, 0.0)
    assert not found.agrees


def test_forms_are_a_table_of_the_model_card() -> None:
    form = Form("text", "float16", 200, 0.995, 0.9312, 0.9315)
    table = forms_as_markdown([form], {"storage": "int8", "error": 0.0645, "images": 12})
    assert "| text | float16 | 200 | 99.5% | 0.9315 | 0.9312 |" in table
    expected = "The image network is in int8 and computes in float: its features are off by 0.065"
    assert expected in table
    assert json.dumps(form.record())
