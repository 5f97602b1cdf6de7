"""A dataset in a folder as a shop has it: one table of any form, and images beside or with it."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import xlsxwriter
from PIL import Image

from shared.errors import InvalidInput
from trainer.datasets.loading import load
from trainer.datasets.validation import check

ROWS = [
    ("Nom", "Catégorie", "Photo"),
    *((f"botte {i}", "Chaussures", f"b{i}.png") for i in range(3)),
    *((f"sac {i}", "Sacs", f"s{i}.png") for i in range(3)),
]


def workbook() -> bytes:
    content = io.BytesIO()
    with xlsxwriter.Workbook(content) as book:
        sheet = book.add_worksheet()
        for number, row in enumerate(ROWS):
            sheet.write_row(number, 0, row)
    return content.getvalue()


def semicolons() -> bytes:
    return "\r\n".join(";".join(row) for row in ROWS).encode("cp1252")


def images() -> dict[str, bytes]:
    content = io.BytesIO()
    Image.new("RGB", (4, 3), "red").save(content, "PNG")
    return {row[2]: content.getvalue() for row in ROWS[1:]}


def archive(*tables: tuple[str, bytes], folder: str = "") -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        for name, table in tables:
            packed.writestr(name, table)
        for name, image in images().items():
            packed.writestr(f"{folder}{name}", image)
        packed.writestr("__MACOSX/._b0.png", b"litter")
    return content.getvalue()


def loose(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, image in images().items():
        (folder / name).write_bytes(image)


def table_and_images_folder(folder: Path) -> Path:
    (folder / "Catalogue 2026.xlsx").write_bytes(workbook())
    loose(folder / "Mes photos/bottes")
    return folder


def table_and_archive(folder: Path) -> Path:
    (folder / "export.csv").write_bytes(semicolons())
    (folder / "photos.zip").write_bytes(archive())
    return folder


def one_archive(folder: Path) -> Path:
    packed = archive(("produits.csv", semicolons()), folder="photos/")
    (folder / "Boutique.ZIP").write_bytes(packed)
    return folder


def one_archive_by_its_path(folder: Path) -> Path:
    return one_archive(folder) / "Boutique.ZIP"


def table_by_its_path(folder: Path) -> Path:
    (folder / "autre.csv").write_text("nothing")
    (folder / "export.xlsx").write_bytes(workbook())
    loose(folder / "images")
    return folder / "export.xlsx"


def known_names_of_other_kinds(folder: Path) -> Path:
    (folder / "products.xlsx").write_bytes(workbook())
    (folder / "other.csv").write_text("a;b\n")
    (folder / "images.zip").write_bytes(archive())
    return folder


@pytest.mark.parametrize(
    "written",
    [
        table_and_images_folder,
        table_and_archive,
        one_archive,
        one_archive_by_its_path,
        table_by_its_path,
        known_names_of_other_kinds,
    ],
)
def test_dataset_is_read_as_a_shop_has_it(tmp_path: Path, written: Callable[[Path], Path]) -> None:
    path = written(tmp_path)
    data = load(path)
    assert {one.name for one in data.categories.categories} == {"Chaussures", "Sacs"}
    assert data.rows["designation"].tolist() == [row[0] for row in ROWS[1:]]
    assert (data.rows["image"] != "").all()
    assert data.read_image(data.rows["image"].iloc[0]).startswith(b"\x89PNG")
    report = check(path, deep=True)
    assert (report.rows, report.images, report.findings) == (6, 6, ())


def test_several_tables_are_listed(tmp_path: Path) -> None:
    for name in ("janvier.csv", "février.xlsx"):
        (tmp_path / name).write_bytes(semicolons())
    (tmp_path / "categories.csv").write_text("code,name\n")
    with pytest.raises(InvalidInput, match=r"one table.*Received: .*février\.xlsx, janvier\.csv"):
        load(tmp_path)


def test_archive_of_several_tables_is_refused_by_their_names(tmp_path: Path) -> None:
    tables = (("a.csv", semicolons()), ("b.csv", semicolons()))
    (tmp_path / "products.zip").write_bytes(archive(*tables))
    [finding] = check(tmp_path).findings
    assert "Received: 2 files: a.csv, b.csv" in finding.message


def test_categories_and_labels_may_be_workbooks(tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_text("titre\na\nb\n")
    for name, rows in (
        ("labels", [("label",), ("Livres",), ("Jeux",)]),
        ("categories", [("code", "name"), (10, "Livres"), (20, "Jeux")]),
    ):
        with xlsxwriter.Workbook(tmp_path / f"{name}.xlsx") as book:
            sheet = book.add_worksheet()
            for number, row in enumerate(rows):
                sheet.write_row(number, 0, row)
    assert load(tmp_path).categories.codes == (10, 20)
