"""The tables of a dataset, in every form that catalogs may have."""

import csv
import gzip
import io
import json
from pathlib import Path

import pandas as pd
import pytest
import xlsxwriter

from trainer.datasets.folder import CHALLENGE, labelled_rows
from trainer.datasets.loading import load
from trainer.datasets.tables import Table, has_text, labelled, read_table
from trainer.datasets.validation import check

RAKUTEN = Path(__file__).parents[5] / "shared/data/rakuten"
HEADER = ["Nom du produit", "Déscription", "Photo", "Code catégorie"]
ROWS = [["Café; noir", "moulu", "a.jpg", "10"], ["Éponge", 'de "mer"', "b.jpg", "20"]]


def written(encoding: str = "utf-8", delimiter: str = ",", ends: str = "\n") -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=ends).writerows([HEADER, *ROWS])
    return text.getvalue().encode(encoding)


def workbook() -> bytes:
    content = io.BytesIO()
    with xlsxwriter.Workbook(content) as book:
        sheet = book.add_worksheet()
        for number, row in enumerate([HEADER, *ROWS]):
            sheet.write_row(number, 0, [int(one) if one.isdecimal() else one for one in row])
    return content.getvalue()


def json_lines() -> bytes:
    objects = [dict(zip(HEADER, row, strict=True)) for row in ROWS]
    return "\n".join(json.dumps(one) for one in objects).encode()


@pytest.mark.parametrize(
    "content",
    [
        written(),
        written("utf-8-sig", ";", "\r\n"),
        written("cp1252", ";"),
        written("utf-16"),
        written(delimiter="\t", ends="\r"),
        b"sep=;\n" + written(delimiter=";"),
        gzip.compress(written()),
        workbook(),
        json_lines(),
        json.dumps([dict(zip(HEADER, row, strict=True)) for row in ROWS], indent=1).encode(),
    ],
    ids=["utf-8", "excel", "cp1252", "utf-16", "mac", "sep", "gzip", "xlsx", "jsonl", "json"],
)
def test_table_of_any_form_has_the_same_cells(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "products.csv").write_bytes(content)
    rows, findings = labelled(read_table(tmp_path / "products.csv"), None)
    assert findings == []
    names = ["designation", "description", "image_name"]
    assert rows[names].to_numpy().tolist() == [row[:3] for row in ROWS]
    assert rows["code"].tolist() == [10, 20]


def test_lines_of_a_workbook_are_the_rows_of_its_sheet(tmp_path: Path) -> None:
    with xlsxwriter.Workbook(tmp_path / "products.csv") as book:
        sheet = book.add_worksheet()
        for number, row in ((3, ("titre", "rayon")), (4, ("a", "Sacs")), (7, ("b", "Jeux"))):
            sheet.write_row(number, 1, row)
    rows, _ = labelled(read_table(tmp_path / "products.csv"), None)
    assert rows["line"].tolist() == [5, 8]


def table_of(folder: Path, name: str, text: str, kind: str = "products") -> Table:
    (folder / name).write_text(text)
    return read_table(folder / name, kind)


def test_malformed_row_becomes_a_finding_with_its_line_and_reason(tmp_path: Path) -> None:
    text = "designation,prdtypecode\na,10\nb,20,30,40\nc,20\n"
    products = table_of(tmp_path, "products.csv", text)
    rows, (finding,) = labelled(products, None)
    assert rows["code"].to_dict() == {0: 10, 2: 20}
    assert (finding.code, finding.severity, finding.count) == ("malformed_rows", "warning", 1)
    assert finding.rows == (1,)
    assert "products.csv" in finding.message
    assert "line 3: Expected 2 cells. Received: 4" in finding.message
    assert products.rows == len(rows) + finding.count == 3
    assert check(tmp_path).is_trainable
    assert len(load(tmp_path).rows) == 2


@pytest.mark.parametrize(
    ("products", "labels"),
    [
        ("designation,ean\na,1\nb,2,surplus\nc,3\n", "prdtypecode\n10\n20\n30\n"),
        (",designation\n7,a\n8,b,surplus\n9,c\n", ",prdtypecode\n7,10\n8,20\n9,30\n"),
        (",designation\n7,a\n8,b,surplus\n9,c\n", "prdtypecode\n10\n20\n30\n"),
        ("designation\na\nb\nc\n", "prdtypecode,by\n10,x\n20,x,surplus\n30,x\n"),
        (",designation\n7,a\n8,b\n9,c\n", ",prdtypecode\n7,10\n8,20,surplus\n9,30\n"),
    ],
)
def test_malformed_row_does_not_shift_the_labels(
    tmp_path: Path, products: str, labels: str
) -> None:
    rows, findings = labelled(
        table_of(tmp_path, "products.csv", products),
        table_of(tmp_path, "labels.csv", labels, "labels"),
    )
    assert dict(zip(rows["designation"], rows["code"], strict=True)) == {"a": 10, "c": 30}
    assert [finding.code for finding in findings] == ["malformed_rows"]


def test_label_file_may_name_its_column_otherwise(tmp_path: Path) -> None:
    products = table_of(tmp_path, "products.csv", "titre\na\nb\n")
    labels = table_of(tmp_path, "labels.csv", "Code catégorie\n10\n20\n", "labels")
    assert labelled(products, labels)[0]["code"].tolist() == [10, 20]


def test_key_that_occurs_late_in_json_lines_is_read(tmp_path: Path) -> None:
    lines = ['{"title": "a", "code": 10}'] * 300 + ['{"title": "b", "code": 20, "photo": "b.png"}']
    products = table_of(tmp_path, "products.csv", "\n".join(lines))
    rows, _ = labelled(products, None)
    assert rows["image_name"].iloc[-1] == "b.png"


@pytest.mark.parametrize("text", ["", " ", "<p><br></p>", "&nbsp;", "N/A", "???", "null", "\u200b"])
def test_text_that_nobody_can_read_is_no_text(text: str) -> None:
    texts = pd.Series([text, text, "stylo"])
    assert has_text(texts, pd.Series(["", "bleu", text])).tolist() == [False, True, True]


@pytest.mark.skipif(not RAKUTEN.exists(), reason="needs the challenge's files")
def test_challenge_is_read_as_by_pandas() -> None:
    for name, kind in zip(CHALLENGE, ("products", "labels"), strict=True):
        path = RAKUTEN / name
        expected = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=0)
        expected.index = expected.index.astype("int64")
        found = read_table(path, kind)
        pd.testing.assert_frame_equal(found.frame, expected.rename_axis(None))
        assert found.malformed == ()


def test_folder_reports_malformed_rows_of_every_file(tmp_path: Path) -> None:
    for name, text in (
        (CHALLENGE[0], ",designation,productid,imageid\n0,a,1,1\n1,b,2,2,x\n2,c,3,3\n"),
        (CHALLENGE[1], ",prdtypecode\n0,10\n1,10\n2,20\n"),
        ("image_only.csv", "productid,imageid,prdtypecode\n4,4,10\n5,5,20,x\n"),
    ):
        (tmp_path / name).write_text(text)
    rows, findings = labelled_rows(tmp_path)
    assert len(rows) == 3
    assert [finding.code for finding in findings] == ["malformed_rows", "malformed_rows"]
