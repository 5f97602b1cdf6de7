from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.categories import Category
from shared.contracts import Modality
from shared.errors import InvalidInput, ModalityNotInRelease
from shared.inference.manifest import ImagePart, ReleaseManifest, TextPart
from tests.support.factories import make_manifest


def manifest() -> ReleaseManifest:
    return ReleaseManifest(
        name="a",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        categories=(Category(code=10, name="Livres"), Category(code=2583, name="Piscine")),
        text=TextPart(preparation="text-1", max_tokens=64),
        image=ImagePart(preparation="image-1", size=299),
        figures={"text_f1_plain": 0.78},
        trained_on="two rows",
    )


def test_manifest_is_read_back(tmp_path: Path) -> None:
    manifest().write(tmp_path)
    assert ReleaseManifest.read(tmp_path) == manifest()
    assert ReleaseManifest.read(tmp_path).category_set.index(2583) == 1


def test_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"release\.json"):
        ReleaseManifest.read(tmp_path)


@pytest.mark.parametrize(("old", "new"), [('"format": 1', '"format": 2'), ('"name"', '"nom"')])
def test_manifest_of_another_form_is_refused(tmp_path: Path, old: str, new: str) -> None:
    manifest().write(tmp_path)
    path = tmp_path / "release.json"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InvalidInput, match="does not describe a release"):
        ReleaseManifest.read(tmp_path)


def test_release_may_have_one_modality(tmp_path: Path) -> None:
    make_manifest(image=None).write(tmp_path)
    found = ReleaseManifest.read(tmp_path)
    assert found.modalities == (Modality.TEXT,)
    assert found.text_part.max_tokens == 64
    with pytest.raises(ModalityNotInRelease, match="no image model"):
        _ = found.image_part
    with pytest.raises(ModalityNotInRelease, match="no text model"):
        _ = make_manifest(text=None).text_part


def test_release_without_any_model_is_refused() -> None:
    with pytest.raises(ValidationError, match="Received: neither"):
        make_manifest(text=None, image=None)


@pytest.mark.parametrize("extractor", ["../images", "a/b", "", ".."])
def test_extractor_is_the_name_of_a_folder(extractor: str) -> None:
    with pytest.raises(ValidationError, match="pattern"):
        ImagePart(preparation="image-1", size=299, extractor=extractor, features=4)


@pytest.mark.parametrize(("extractor", "features"), [("xception-0123", 0), (None, 2048)])
def test_extractor_and_number_of_features_come_together(
    extractor: str | None, features: int
) -> None:
    with pytest.raises(ValidationError, match="with an `extractor`, and 0 without"):
        ImagePart(preparation="image-1", size=299, extractor=extractor, features=features)
