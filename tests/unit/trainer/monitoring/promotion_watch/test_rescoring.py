"""Replies of a release to products that another release answered."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.contracts import Modality
from shared.errors import NotFound
from shared.inference.releases.feature_cache import STORED, address
from shared.settings import StorageSettings
from shared.storage import Storage, digest_in
from tests.support.tiny_release import TINY_EXTRACTOR, write_tiny_release
from trainer.monitoring.promotion_watch.replies import (
    Product,
    Reply,
    read_replies,
    write_products,
)
from trainer.monitoring.promotion_watch.rescoring import main, score
from trainer.release.loaded import LoadedRelease

BOTH = ("image", "text")


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(StorageSettings(url=str(tmp_path / "storage")))


@pytest.fixture
def release(tmp_path: Path) -> LoadedRelease:
    return LoadedRelease.load(write_tiny_release(tmp_path / "release", in_two_steps=True))


def photo(brightness: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (20, 20), (brightness,) * 3).save(file, "PNG")
    return file.getvalue()


def product(id_: str, uri: str | None = None, modalities: tuple[str, ...] = BOTH) -> Product:
    return Product(id_, "piscine", "", uri, modalities)


def test_text_image_and_answer_are_scored(release: LoadedRelease, storage: Storage) -> None:
    # A short text is of the first category, a bright image of the second, and more surely so.
    uri = storage.put("images", photo(255))
    replies = score(release, [product("1", uri)], storage.get, most_images=1)["1"]
    assert {name: reply.code for name, reply in replies.items()} == {
        "text": 10,
        "image": 2583,
        "fusion": 10 if replies["text"].confidence > replies["image"].confidence else 2583,
    }


def test_answer_has_the_modalities_of_the_other_release(
    release: LoadedRelease, storage: Storage
) -> None:
    replies = score(release, [product("1", modalities=("text",))], storage.get, most_images=1)["1"]
    assert replies == {"text": replies["text"], "fusion": replies["text"]}


def test_stored_features_need_no_image_and_count_for_no_limit(
    release: LoadedRelease, storage: Storage
) -> None:
    uri = storage.put("images", photo(255))
    stored = address(TINY_EXTRACTOR.extractor or "", digest_in(uri) or "")
    storage.put_at(stored, np.array([0.0]).astype(STORED).tobytes())
    storage.remove(uri)
    replies = score(release, [product("1", uri)], storage.get, most_images=0)["1"]
    # The image was white, but the stored features are those of a black one.
    assert replies["image"].code == 10


def test_images_beyond_the_limit_are_left_out(release: LoadedRelease, storage: Storage) -> None:
    products = [product(str(n), storage.put("images", photo(200 + n))) for n in range(3)]
    replies = score(release, products, storage.get, most_images=2)
    assert ["image" in replies[one.id] for one in products] == [True, True, False]
    assert [*replies["2"]] == ["text"]


@pytest.mark.parametrize("content", [None, b"no image"])
def test_image_that_is_gone_or_unreadable_is_left_out(
    release: LoadedRelease, storage: Storage, content: bytes | None
) -> None:
    uri = storage.put("images", content or b"gone")
    if content is None:
        storage.remove(uri)
        with pytest.raises(NotFound):
            storage.get(uri)
    replies = score(release, [product("1", uri), product("2")], storage.get, most_images=9)
    assert [*replies["1"]] == [*replies["2"]] == ["text"]


@pytest.mark.parametrize("modality", list(Modality))
def test_release_without_a_modality_replies_by_the_other(
    storage: Storage, tmp_path: Path, modality: Modality
) -> None:
    release = LoadedRelease.load(write_tiny_release(tmp_path / "one", modalities=[modality]))
    uri = storage.put("images", photo(255))
    replies = score(release, [product("1", uri)], storage.get, most_images=1)["1"]
    # The other release answered by both, which this one cannot
    assert [*replies] == [modality.value]


def test_command_scores_the_products_of_a_file(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYON_STORAGE_URL", str(tmp_path / "storage"))
    monkeypatch.setattr("os.nice", lambda _: 0)
    folder = write_tiny_release(tmp_path / "release")
    products, out = tmp_path / "products.json", tmp_path / "replies.json"
    write_products(products, [product("1", modalities=("text",))])
    assert main([str(folder), str(products), "--out", str(out), "--images", "0"]) == 0
    reply = read_replies(out)["1"]["fusion"]
    assert isinstance(reply, Reply)
    assert reply.code == 10


def test_command_reports_a_folder_that_is_no_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.nice", lambda _: 0)
    products = tmp_path / "products.json"
    products.write_text(json.dumps([]))
    assert main([str(tmp_path), str(products), "--out", "x", "--images", "0"]) == 1
    assert capsys.readouterr().err.startswith("error: ")
