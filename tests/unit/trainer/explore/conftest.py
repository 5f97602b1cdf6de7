"""A small shop with four categories, valid and broken images, and every fault the page counts."""

import csv
import io
from pathlib import Path

import pytest
from PIL import Image

COLUMNS = ("designation", "description", "image", "prdtypecode")
HOSTILE = '<script>alert("x")</script> & "Lampe"'
ROWS = [
    ("Piscine ronde pour le jardin", "Une grande piscine pour toute la famille", "a.jpg", 1),
    ("Piscine ovale pour le jardin", "", "b.jpg", 1),
    ("Piscine carrée pour le jardin", "", "", 1),
    ("The history of the railway", "A book about trains and the people who built them", "c.png", 2),
    ("The history of the garden", "", "same.jpg", 2),
    (HOSTILE, "<p>Une lampe de bureau</p>", "broken.jpg", 30),
    ("Une chaise", "", "", 30),
    ("UNE   CHAISE", "", "", 4),
]


def image(colour: str, size: tuple[int, int] = (60, 40), form: str = "JPEG") -> bytes:
    content = io.BytesIO()
    image = Image.new("RGB", size, colour)
    image.paste("black", (0, 0, 10, 10))
    image.save(content, form)
    return content.getvalue()


def write_products(folder: Path, rows: list[tuple[str, str, str, int]]) -> Path:
    with (folder / "products.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    return folder


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    images = folder / "images"
    images.mkdir(parents=True)
    (images / "a.jpg").write_bytes(image("blue"))
    (images / "b.jpg").write_bytes(image("red", (20, 80)))
    (images / "c.png").write_bytes(image("green", form="PNG"))
    (images / "same.jpg").write_bytes(image("blue"))
    (images / "broken.jpg").write_bytes(image("blue")[:300])
    (folder / "categories.csv").write_text(
        "prdtypecode,category\n1,Piscines\n2,<b>Livres</b>\n30,Meubles\n4,Chaises\n"
    )
    return write_products(folder, ROWS)
