import io
import zipfile
from pathlib import Path

import pandas as pd
from PIL import Image

from shared.errors import NotFound
from tests.unit.trainer.explore.conftest import image
from trainer.explore import images
from trainer.explore.images import ImageSurvey, survey_images
from trainer.explore.material import read_material


def survey_of(shop: Path) -> ImageSurvey:
    material = read_material(shop)
    return survey_images(material.rows["image"], material.read, thumbnails=material.rows["image"])


def by_name(survey: ImageSurvey) -> pd.DataFrame:
    return survey.table.set_axis(
        [Path(reference).name for reference in survey.table.index], axis="index"
    )


def test_properties_of_each_image_are_recorded(shop: Path) -> None:
    table = by_name(survey_of(shop))
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


def test_broken_image_is_counted_without_a_thumbnail(shop: Path) -> None:
    survey = survey_of(shop)
    assert {Path(reference).name for reference in survey.unreadable} == {"broken.jpg"}
    assert len(survey.thumbnails) == 4
    assert images.faults(survey)["images"].sum() == 1
    material = read_material(shop)
    findings = material.report(survey.unreadable).findings
    assert [finding.code for finding in findings if finding.rows == (5,)] == ["unreadable_pictures"]


def test_missing_image_is_a_fault() -> None:
    def read(reference: str) -> bytes:
        raise NotFound(f"No image {reference!r}")

    survey = survey_images(["x.jpg", ""], read)
    assert images.faults(survey).to_dict("index") == {"No image": {"images": 1, "example": "x.jpg"}}


def test_equal_files_have_equal_digests(shop: Path) -> None:
    digests = by_name(survey_of(shop))["digest"]
    assert digests["a.jpg"] == digests["same.jpg"]
    assert digests["a.jpg"] != digests["b.jpg"]


def test_thumbnails_keep_the_aspect_ratio(shop: Path) -> None:
    survey = survey_of(shop)
    sizes = {
        Path(reference).name: Image.open(io.BytesIO(content)).size
        for reference, content in survey.thumbnails.items()
    }
    assert sizes["b.jpg"] == (28, 112)
    assert sizes["a.jpg"] == (112, 75)


def test_images_in_an_archive_have_the_same_digests(shop: Path) -> None:
    loose = by_name(survey_of(shop))
    with zipfile.ZipFile(shop / "images.zip", "w") as packed:
        for path in (shop / "images").iterdir():
            packed.write(path, path.name)
            path.unlink()
    table = survey_of(shop).table
    names = [reference.rpartition("!")[2] for reference in table.index]
    assert table.set_axis(names, axis="index")["digest"].equals(loose["digest"])


def test_image_of_a_single_colour_is_blank() -> None:
    content = io.BytesIO()
    Image.new("RGB", (50, 50), "white").save(content, "JPEG")
    files = {"white": content.getvalue(), "blue": image("blue")}
    survey = survey_images(files, files.__getitem__)
    assert survey.table["is_blank"].to_dict() == {"white": True, "blue": False}


def test_number_of_images_in_memory_is_bounded() -> None:
    content, read, seen = image("blue"), [], 0

    def counted(reference: str) -> bytes:
        read.append(reference)
        return content

    def on_progress(done: int) -> None:
        nonlocal seen
        seen = max(seen, len(read) - done)

    survey_images([str(number) for number in range(1_000)], counted, on_progress=on_progress)
    assert len(read) == 1_000
    assert seen <= 2 * images.CHUNK


def test_sample_is_distinct_and_deterministic(shop: Path) -> None:
    rows = read_material(shop).rows
    chosen = images.sample(rows, 1)
    assert {code: len(kept) for code, kept in chosen.items()} == {1: 1, 2: 1, 30: 1}
    assert images.sample(rows, 1) == chosen
