import io
import zipfile
from pathlib import Path

import pandas as pd
from PIL import Image

from shared.errors import NotFound
from tests.unit.trainer.explore.conftest import image
from trainer.explore import images
from trainer.explore.images import Looks, look_at_all
from trainer.explore.material import read_material


def looks_of(shop: Path) -> Looks:
    material = read_material(shop)
    return look_at_all(material.rows["image"], material.read, small=material.rows["image"])


def by_name(looks: Looks) -> pd.DataFrame:
    return looks.table.set_axis([Path(one).name for one in looks.table.index], axis="index")


def test_each_image_is_measured(shop: Path) -> None:
    table = by_name(looks_of(shop))
    assert table["width"].to_dict() == {
        "a.jpg": 60,
        "b.jpg": 20,
        "c.png": 60,
        "same.jpg": 60,
        "broken.jpg": 0,
    }
    assert table.loc["b.jpg", "height"] == 80
    assert table.loc["a.jpg", "mode"] == "RGB"
    assert table.loc["c.png", "format"] == "PNG"
    assert table.loc["a.jpg", "size_bytes"] == (shop / "images" / "a.jpg").stat().st_size


def test_a_broken_image_is_counted_and_not_shown(shop: Path) -> None:
    looks = looks_of(shop)
    assert {Path(one).name for one in looks.unreadable} == {"broken.jpg"}
    assert len(looks.small) == 4
    assert images.faults(looks)["images"].sum() == 1
    material = read_material(shop)
    found = [one for one in material.report(looks.unreadable).findings if one.rows == (5,)]
    assert [one.code for one in found] == ["unreadable_pictures"]


def test_a_image_that_is_gone_is_a_fault() -> None:
    def read(reference: str) -> bytes:
        raise NotFound(f"No image {reference!r}")

    looks = look_at_all(["x.jpg", ""], read)
    assert images.faults(looks).to_dict("index") == {"No image": {"images": 1, "example": "x.jpg"}}


def test_equal_files_have_equal_digests(shop: Path) -> None:
    digests = by_name(looks_of(shop))["digest"]
    assert digests["a.jpg"] == digests["same.jpg"]
    assert digests["a.jpg"] != digests["b.jpg"]


def test_small_images_keep_their_shape(shop: Path) -> None:
    looks = looks_of(shop)
    sizes = {
        Path(one).name: Image.open(io.BytesIO(content)).size for one, content in looks.small.items()
    }
    assert sizes["b.jpg"] == (28, 112)
    assert sizes["a.jpg"] == (112, 75)


def test_packed_images_are_the_same(shop: Path) -> None:
    loose = by_name(looks_of(shop))
    with zipfile.ZipFile(shop / "images.zip", "w") as packed:
        for path in (shop / "images").iterdir():
            packed.write(path, path.name)
            path.unlink()
    table = looks_of(shop).table
    names = [one.rpartition("!")[2] for one in table.index]
    assert table.set_axis(names, axis="index")["digest"].equals(loose["digest"])


def test_a_image_of_one_colour_shows_nothing() -> None:
    content = io.BytesIO()
    Image.new("RGB", (50, 50), "white").save(content, "JPEG")
    files = {"white": content.getvalue(), "blue": image("blue")}
    looks = look_at_all(files, files.__getitem__)
    assert looks.table["is_blank"].to_dict() == {"white": True, "blue": False}


def test_few_images_are_in_memory_at_a_time() -> None:
    content, read, seen = image("blue"), [], 0

    def counted(reference: str) -> bytes:
        read.append(reference)
        return content

    def tell(done: int) -> None:
        nonlocal seen
        seen = max(seen, len(read) - done)

    look_at_all([str(one) for one in range(1_000)], counted, tell=tell)
    assert len(read) == 1_000
    assert seen <= 2 * images.CHUNK


def test_a_sample_has_each_image_once_and_is_the_same_each_time(shop: Path) -> None:
    rows = read_material(shop).rows
    chosen = images.sample(rows, 1)
    assert {code: len(kept) for code, kept in chosen.items()} == {1: 1, 2: 1, 30: 1}
    assert images.sample(rows, 1) == chosen
