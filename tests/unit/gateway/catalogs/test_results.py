"""Results contain the uploaded rows with their answers."""

import csv
import gzip
import io
import json
from collections.abc import Callable
from typing import Any, cast

import pytest
from python_calamine import CalamineWorkbook
from sqlalchemy import RowMapping, select

from gateway.catalogs.output.answer_columns import ANSWER_COLUMNS, answer_of
from gateway.catalogs.output.result_files import csv_pieces, json_pieces
from shared.db.models import Catalog, Job, row_job_id
from shared.tables.dialect import Dialect
from shared.tables.form import MAX_COLUMNS, Form
from shared.tables.pages import next_page
from shared.tables.rows import Row
from tests.unit.gateway.catalogs.catalog_system import (
    Feeders,
    answer_all,
    send,
    show,
    step_until_checked,
    table,
)
from tests.unit.gateway.conftest import Api

ANSWER = ",".join(ANSWER_COLUMNS)


def results(
    api: Api,
    mine: dict[str, str],
    feeder: Feeders,
    products: bytes,
    *,
    answered: bool = True,
    query: str = "",
) -> str:
    catalog = send(api, mine, products)
    running = feeder()
    step_until_checked(api, running, catalog["id"])
    running.step()
    if answered:
        answer_all(api, catalog["id"])
        running.step()
    answer = api.client.get(f"/v1/catalogs/{catalog['id']}/results{query}", headers=mine)
    assert answer.status_code == 200, answer.text
    return answer.content.decode()


def keep_columns(api: Api, catalog_id: str, columns: list[str]) -> None:
    """Change the catalog's report to that of version 0.2."""
    with api.unit_of_work() as work:
        catalog = work.session.get(Catalog, catalog_id)
        assert catalog is not None
        kept = {key: value for key, value in catalog.report.items() if key != "form"}
        catalog.report = {**kept, "columns": columns}


def test_answer_columns_follow_the_uploaded_ones(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    products = table(["7", "A", "deux\nlignes", "é"], header="ref,designation,description,note")
    text = results(api, mine, feeder, products)
    assert text.splitlines()[0] == f"ref,designation,description,note,{ANSWER}"
    [row] = csv.DictReader(io.StringIO(text, newline=""))
    assert list(row.values()) == [
        "7", "A", "deux\nlignes", "é",
        "10", "Livres", "0.9", "10:0.9", "text=10:0.9", "", "done", "", "", "Livres: 0.9",
        "", "",
    ]  # fmt: skip


def test_rejected_row_has_an_error_code(api: Api, mine: dict[str, str], feeder: Feeders) -> None:
    products = table(["A", "x"], ["", "z"], ["B", "y", "surplus"], header="designation,note")
    rows = [*csv.DictReader(io.StringIO(results(api, mine, feeder, products)))]
    assert [(row["status"], row["error_code"]) for row in rows] == [
        ("done", ""),
        ("rejected", "row_rejected"),
        ("rejected", "row_rejected"),
    ]
    lines = results(api, mine, feeder, products, query="?format=jsonl").splitlines()
    assert json.loads(lines[1])["error_code"] == "row_rejected"


def test_most_likely_categories_are_named(api: Api) -> None:
    result: dict[str, Any] = {"category": "Mode > Sacs", "modalities": {}, "degraded": None}
    names = ("Mode > Sacs", "Mode > Bijoux", "Sport", "Déco")
    result["top"] = [
        {"prdtypecode": code, "category": name, "probability": 0.25}
        for code, name in enumerate(names)
    ]
    answer: dict[str, Any] = {"status": "done", "error_code": None, "error_message": None}
    answer |= {"result": result, "prdtypecode": 0, "confidence": 0.25}
    result |= {"novelty": 0.97, "is_foreign": True}
    catalog = Catalog(model="text", has_images=False, fed_until=1, status="finished")
    row = Row(1, 2, ("A",), {"designation": 0})
    found = answer_of(row, cast(RowMapping, answer), catalog, None)
    assert found["category"] == "Mode > Sacs"
    assert found["top_3_names"] == "Mode > Sacs: 0.25 | Mode > Bijoux: 0.25 | Sport: 0.25"
    assert (found["novelty"], found["is_foreign"]) == (0.97, True)


def test_delimiter_and_byte_order_mark_are_kept(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    text = results(api, mine, feeder, b"\xef\xbb\xbfdesignation;note\nA;x\n")
    assert text.startswith("\ufeffdesignation;note;prdtypecode;")


def test_answer_column_with_a_taken_name_gets_a_prefix(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    text = results(api, mine, feeder, b"designation,Status,prdtypecode\nA,new,60\n")
    [row] = csv.DictReader(io.StringIO(text))
    assert (row["Status"], row["prdtypecode"]) == ("new", "60")
    assert (row["rayon_status"], row["rayon_prdtypecode"]) == ("done", "10")


@pytest.mark.parametrize("header", ["designation,description,x,x", "designation,description,,"])
@pytest.mark.parametrize("is_old", [False, True])
def test_repeated_or_unnamed_columns_do_not_shift_the_answers(
    api: Api, mine: dict[str, str], feeder: Feeders, header: str, is_old: bool
) -> None:
    rows = (["A", "two\nlines", "1", "2"], ["B", "", "3", "4"], ["C", "", "5", "6"])
    catalog = send(api, mine, table(*rows, header=header))
    running = feeder()
    step_until_checked(api, running, catalog["id"])
    running.step()
    if is_old:
        # An earlier version stored each column name once.
        keep_columns(api, catalog["id"], list(dict.fromkeys(header.split(","))))
    for row, code in enumerate((10, 40, 50), start=1):
        answer_all(api, catalog["id"], Job.id == row_job_id(catalog["id"], row), prdtypecode=code)
    answer = api.client.get(f"/v1/catalogs/{catalog['id']}/results", headers=mine)
    shown, *found = csv.reader(io.StringIO(answer.text, newline=""))
    assert ",".join(shown) == f"{header},{ANSWER}"
    assert [tuple(row[:5]) for row in found] == [
        (*cells, code) for cells, code in zip(rows, ("10", "40", "50"), strict=True)
    ]


@pytest.mark.parametrize(
    ("cell", "shown"),
    [("=1+1", "'=1+1"), ("@x", "'@x"), ("-lot", "'-lot"), ("-3,5", "-3,5"), ("+33", "+33")],
)
def test_formula_cells_are_escaped_unless_raw(
    api: Api, mine: dict[str, str], feeder: Feeders, cell: str, shown: str
) -> None:
    products = table([cell], header="designation")
    for query, expected in (("", shown), ("?raw=true", cell)):
        [row] = csv.DictReader(io.StringIO(results(api, mine, feeder, products, query=query)))
        assert row["designation"] == expected


def test_rejected_rows_stay_in_order(api: Api, mine: dict[str, str], feeder: Feeders) -> None:
    text = results(api, mine, feeder, b"designation,note\nA,1\nB,2,3\nC,4\n")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["designation"], row["status"]) for row in rows] == [
        ("A", "done"),
        ("B", "rejected"),
        ("C", "done"),
    ]


def test_results_can_be_read_while_the_catalog_is_running(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    text = results(api, mine, feeder, b"designation\nA\n", answered=False)
    assert [row["status"] for row in csv.DictReader(io.StringIO(text))] == ["queued"]


def test_json_lines_keep_the_keys_of_each_row(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    products = b'{"designation": "A", "b": "1"}\n{"designation": "B", "c": "2"}\n'
    lines = results(api, mine, feeder, products, query="?format=jsonl").splitlines()
    first, second = (json.loads(line) for line in lines)
    assert (first["designation"], first["b"], first["prdtypecode"]) == ("A", "1", 10)
    assert (second["c"], second["status"]) == ("2", "done")
    [header, *_] = results(api, mine, feeder, products).splitlines()
    assert header == f"designation,b,c,{ANSWER}"


@pytest.mark.parametrize(
    ("names", "count"), [("k{}", 1_005), ("k" * 1_000 + "{}", 200)], ids=["many", "long"]
)
def test_keys_beyond_the_column_limit_are_only_in_json_lines(
    api: Api, mine: dict[str, str], feeder: Feeders, names: str, count: int
) -> None:
    rows = [{"designation": "A", names.format(n): str(n)} for n in range(count)]
    products = "".join(json.dumps(row) + "\n" for row in rows).encode()
    catalog = send(api, mine, products)
    step_until_checked(api, feeder(), catalog["id"])
    assert show(api, mine, catalog["id"])["omits_columns"] is True
    address = f"/v1/catalogs/{catalog['id']}/results"
    [header, *_] = api.client.get(address, headers=mine).text.splitlines()
    assert len(header) < 110_000
    assert header.count(",") < MAX_COLUMNS + len(ANSWER_COLUMNS)
    lines = api.client.get(f"{address}?format=jsonl", headers=mine).text.splitlines()
    shown = [json.loads(line) for line in lines]
    assert [{key: line[key] for key in row} for line, row in zip(shown, rows, strict=True)] == rows


def test_wide_table_is_sent_in_pieces() -> None:
    form = Form(("designation", *[""] * 999), Dialect(","))
    row = Row(1, 2, ("a",), {"designation": 0})
    pieces = list(csv_pieces([[(row, {})] * 3_000], form, {}, raw=True, has_bom=False))
    assert max(map(len, pieces)) < 1_100_000
    assert sum(map(len, pieces)) > 3_000_000


def test_long_column_names_are_sent_in_pieces() -> None:
    form = Form(("n" * 10_000,), Dialect(","))
    row = Row(1, 2, ("",), {})
    pieces = list(json_pieces([[(row, {})] * 1_000], form, {}))
    assert max(map(len, pieces)) < 1_100_000
    assert sum(map(len, pieces)) > 10_000_000


@pytest.mark.parametrize(
    ("cells", "rows"),
    [(["x" * 1_000_000], 8), ([""] * 1_000, 80)],
    ids=["long", "wide"],
)
def test_page_of_large_rows_has_fewer_rows(cells: list[str], rows: int) -> None:
    assert len(next_page(Row(n, n, cells, {}) for n in range(1_000))) == rows


def test_many_rows_are_read_in_pages(api: Api, mine: dict[str, str], feeder: Feeders) -> None:
    products = table(*([f"title {n}"] for n in range(1_050)), header="designation")
    rows = list(csv.DictReader(io.StringIO(results(api, mine, feeder, products))))
    assert [row["designation"] for row in rows] == [f"title {n}" for n in range(1_050)]
    assert {row["status"] for row in rows} == {"done"}


def test_json_values_come_back_as_they_were_sent(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    sent = {
        "designation": "A",
        "price": 12.5,
        "id": 38047252640000001,
        "stock": None,
        "active": True,
        "tags": ["a", 1],
        "status": "new",
    }
    products = json.dumps(sent).encode() + b"\n"
    found = json.loads(results(api, mine, feeder, products, query="?format=jsonl"))
    assert {key: found[key] for key in sent} == sent
    assert (found["rayon_status"], found["prdtypecode"]) == ("done", 10)


def test_results_that_are_sent_again_overwrite_nothing(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    header = "designation,prdtypecode,rayon_prdtypecode,Tag,Tag,status"
    products = table(["A", "1", "2", "x", "y", "old"], header=header)
    [row] = csv.DictReader(io.StringIO(results(api, mine, feeder, products)))
    assert (row["prdtypecode"], row["rayon_prdtypecode"]) == ("1", "2")
    assert (row["rayon_prdtypecode_2"], row["rayon_status"]) == ("10", "done")
    line = json.loads(results(api, mine, feeder, products, query="?format=jsonl"))
    assert (line["Tag"], line["Tag_2"], line["rayon_prdtypecode_2"]) == ("x", "y", 10)


def test_reason_of_a_rejected_row_is_in_the_results(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    products = b"designation,note\nA,1\nB,2,3\n<p>&nbsp;</p>,4\nC,5\n"
    rows = list(csv.DictReader(io.StringIO(results(api, mine, feeder, products))))
    assert [row["rayon_message"] for row in rows] == [
        "",
        "Expected 2 cells. Received: 3",
        "Expected a title, a description or an image. Received: none",
        "",
    ]


def test_image_that_was_not_sent_is_named_in_the_results(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    products = b"Titre,Photo,Prix\nA,a.jpg,1\nB,,2\n"
    rows = list(csv.DictReader(io.StringIO(results(api, mine, feeder, products))))
    assert [row["rayon_message"] for row in rows] == [
        "The image 'a.jpg' was not used, because no ZIP archive was sent",
        "",
    ]
    [catalog] = api.client.get("/v1/catalogs", headers=mine).json()["items"]
    assert catalog["used_columns"] == {"designation": "Titre", "image": "Photo"}
    assert catalog["unused_columns"] == ["Prix"]
    assert catalog["notes"] == ["Rows that name an image: 1, but no ZIP archive was sent"]
    assert catalog["warnings"] == 1


def test_stated_column_is_used(api: Api, mine: dict[str, str], feeder: Feeders) -> None:
    answer = api.client.post(
        "/v1/catalogs",
        headers=mine,
        files={"products": ("p.csv", b"titre,Mon libell\xe9\nA,B\n")},
        data={"columns": json.dumps({"designation": "mon libelle"})},
    )
    assert answer.status_code == 202, answer.text
    running = feeder()
    step_until_checked(api, running, answer.json()["id"])
    running.step()
    with api.unit_of_work() as work:
        [job] = work.session.scalars(select(Job))
        assert job.designation == "B"


@pytest.mark.parametrize(
    "pack", [gzip.compress, lambda text: text.decode().encode("utf-16")], ids=["gzip", "utf-16"]
)
def test_packed_table_is_fed_and_comes_back(
    api: Api, mine: dict[str, str], feeder: Feeders, pack: Callable[[bytes], bytes]
) -> None:
    products = pack("designation;note\nÉté;x\nThé;y\n".encode())
    rows = list(
        csv.DictReader(
            io.StringIO(results(api, mine, feeder, products).lstrip("\ufeff")), delimiter=";"
        )
    )
    assert [(row["designation"], row["note"], row["status"]) for row in rows] == [
        ("Été", "x", "done"),
        ("Thé", "y", "done"),
    ]


def test_byte_order_mark_is_added_where_a_spreadsheet_needs_it(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    windows = "designation;prix\nCafetière émaillée;12,50\n".encode("cp1252")
    assert results(api, mine, feeder, windows).startswith("\ufeff")
    assert not results(api, mine, feeder, windows, query="?bom=false").startswith("\ufeff")
    assert results(api, mine, feeder, b"designation\nA\n", query="?bom=true").startswith("\ufeff")


def test_results_as_a_workbook_keep_texts_and_run_no_formula(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    catalog = send(api, mine, table(["007", "=1+1", "x" * 40_000], header="sku,designation,note"))
    running = feeder()
    step_until_checked(api, running, catalog["id"])
    running.step()
    answer_all(api, catalog["id"])
    answer = api.client.get(f"/v1/catalogs/{catalog['id']}/results?format=xlsx", headers=mine)
    assert answer.headers["content-disposition"].endswith('results.xlsx"')
    sheet = CalamineWorkbook.from_filelike(io.BytesIO(answer.content)).get_sheet_by_index(0)
    header, row = sheet.to_python()
    assert header[:4] == ["sku", "designation", "note", "prdtypecode"]
    assert row[:2] == ["007", "=1+1"]
    assert len(str(row[2])) == 32_767
    assert row[3] == 10


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("Expected an image (JPEG). Received: an empty file", "its entry is empty or corrupt"),
        ("The image is broken: cut", "The image is broken: cut"),
    ],
)
def test_image_of_the_archive_that_cannot_be_read_is_named(message: str, shown: str) -> None:
    row = Row(1, 2, ("A", "a.jpg"), {"designation": 0, "image": 1})
    result: dict[str, Any] = {"degraded": "image_unreadable", "degraded_message": message}
    answer: dict[str, Any] = {
        "status": "done",
        "error_code": None,
        "error_message": None,
        "result": result,
    }
    answer |= {"prdtypecode": 10, "confidence": 0.9}
    result |= {"category": "Livres", "top": [], "modalities": {}}
    catalog = Catalog(model="fusion", has_images=True, fed_until=1, status="finished")
    found = answer_of(row, cast(RowMapping, answer), catalog, None)
    assert found["rayon_message"] == f"The image 'a.jpg' of the archive cannot be read: {shown}"
