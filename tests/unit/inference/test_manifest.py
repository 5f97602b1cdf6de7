from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.categories import Category
from shared.errors import InvalidInput
from shared.inference.manifest import ImagePart, ReleaseManifest, TextPart


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
