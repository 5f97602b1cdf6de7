"""Files that pack a table: compressed files, spreadsheets, UTF-16, JSON arrays."""

import datetime as dt
import gzip
import io
import json
import zipfile
from contextlib import ExitStack

import pytest
import xlsxwriter

from shared.errors import InvalidInput
from shared.tables.columns import PRODUCT_NAMES
from shared.tables.form import form_of
from shared.tables.rows import rows_of
from shared.tables.unpack import unpack

TABLE = "titre;prix\nCafetière émaillée;12,5\nThéière;3\n"
EXPECTED = [["Cafetière émaillée", "12,5"], ["Théière", "3"]]


def plain(content: bytes, max_bytes: int = 10_000_000) -> bytes:
    with ExitStack() as files:
        stream = unpack(io.BytesIO(content), files, max_bytes=max_bytes, table="products")
        stream.seek(0)
        return stream.read()


def cells(content: bytes) -> list[list[str]]:
    stream = io.BytesIO(plain(content))
    form = form_of(stream, PRODUCT_NAMES, table="products")
    return [list(row.values) for row in rows_of(stream, form, PRODUCT_NAMES)]


def zipped(**files: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def workbook(rows: list[list[object]]) -> bytes:
    packed = io.BytesIO()
    with xlsxwriter.Workbook(packed) as book:
        book.add_worksheet("vide")
        sheet = book.add_worksheet("produits")
        date = book.add_format({"num_format": "yyyy-mm-dd"})
        for row, values in enumerate(rows, start=2):
            for column, value in enumerate(values):
                kind = (date,) if isinstance(value, dt.date) else ()
                sheet.write(row, column, value, *kind)
    return packed.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(TABLE.encode(), id="plain"),
        pytest.param(gzip.compress(TABLE.encode()), id="gzip"),
        pytest.param(gzip.compress(TABLE.encode("utf-16")), id="utf-16 in gzip"),
        pytest.param(TABLE.encode("utf-16"), id="utf-16"),
        pytest.param(TABLE.encode("utf-16-be"), id="utf-16 without a mark"),
        pytest.param(zipped(**{"a/produits.csv": TABLE.encode()}), id="zip"),
        pytest.param(
            zipped(**{"__MACOSX/._p.csv": b"x", "p.csv": TABLE.encode("cp1252")}), id="zip of a Mac"
        ),
    ],
)
def test_packed_table_is_read(content: bytes) -> None:
    assert cells(content) == EXPECTED


def test_plain_file_is_not_copied() -> None:
    stream = io.BytesIO(TABLE.encode())
    with ExitStack() as files:
        assert unpack(stream, files, max_bytes=1, table="products") is stream


def test_first_sheet_with_cells_is_read_as_a_person_sees_it() -> None:
    rows: list[list[object]] = [
        ["Titre", "EAN", "Prix", "En stock", "Depuis"],
        ["Théière", 3804725264.0, 12.5, True, dt.date(2026, 3, 1)],
        ["Lampe", "0123", "", False, ""],
    ]
    assert cells(workbook(rows)) == [
        ["Théière", "3804725264", "12.5", "TRUE", "2026-03-01"],
        ["Lampe", "0123", "", "FALSE", ""],
    ]


@pytest.mark.parametrize("indent", [None, 2])
def test_array_of_objects_becomes_json_lines(indent: int | None) -> None:
    products = [{"titre": "Théière", "prix": 1.5, "tags": ["a"]}, {"titre": "Lampe", "prix": None}]
    lines = plain(json.dumps(products, indent=indent).encode()).splitlines()
    assert [json.loads(line) for line in lines] == products


def test_objects_over_many_lines_become_json_lines() -> None:
    products = [{"titre": "Théière"}, {"titre": "Lampe"}]
    text = "\n".join(json.dumps(one, indent=2) for one in products)
    assert [json.loads(line) for line in plain(text.encode()).splitlines()] == products


@pytest.mark.parametrize(
    ("content", "received"),
    [
        (b"<html><body><table>", "an HTML page"),
        (b'<?xml version="1.0"?><feed/>', "an XML document"),
        (b"%PDF-1.7", "a PDF document"),
        (b"\x89PNG\r\n", "a PNG image"),
        (bytes(range(256)) + bytes(100), "a binary file"),
        (b"\xd0\xcf\x11\xe0" + bytes(600), "an Excel workbook that is cut, broken"),
        (b"PK\x03\x04" + bytes(100), "a ZIP archive that is cut or broken"),
        (workbook([["titre"], ["A"]])[:500], "an Excel workbook that is cut or broken"),
        (gzip.compress(TABLE.encode())[:-10], "a complete gzip file"),
        (zipped(**{"a.csv": b"x", "b.csv": b"y"}), "2 files: a.csv, b.csv"),
        (zipped(), "0 files"),
        (b'[{"a": 1},\n {"a": }]', "line 2, column 8"),
        (b'[\n{"a": NaN}]', "NaN"),
        (b'[{"a": 1}, 2]', "a number as number 2"),
        (b'[{"a": "' + b"x" * 3_000_000 + b'"}]', "a longer one"),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_kind(content: bytes, received: str) -> None:
    with pytest.raises(InvalidInput, match=received) as raised:
        plain(content)
    assert raised.value.field == ("products",)


def test_file_that_unpacks_to_more_than_the_limit_is_refused() -> None:
    with pytest.raises(InvalidInput, match="at most 1000 bytes"):
        plain(gzip.compress(b"titre\n" + b"x" * 2_000_000), max_bytes=1_000)


def test_packings_within_each_other_are_limited() -> None:
    content = TABLE.encode()
    for _ in range(4):
        content = gzip.compress(content)
    with pytest.raises(InvalidInput, match="packed more than 3 times"):
        plain(content)
