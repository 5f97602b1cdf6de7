"""Results contain the uploaded rows with their answers."""

import csv
import io
import json

import pytest

from gateway.catalogs.results import ANSWER_COLUMNS, _csv_lines, _json_lines
from gateway.catalogs.row_pages import next_page
from gateway.catalogs.tables.product_file import Row
from gateway.catalogs.tables.table_format import MAX_COLUMNS, Form
from shared.db.models import Catalog, Job, row_job_id
from tests.unit.gateway.catalogs.catalog_system import (
    Feeders,
    answer_all,
    send,
    show,
    step_until_checked,
    table,
)
from tests.unit.gateway.conftest import Api

ANSWER = "prdtypecode,category,confidence,top_3,modalities,degraded,status,error_code"


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
    """Change the catalog's report to that of an earlier version."""
    with api.unit_of_work() as work:
        catalog = work.session.get(Catalog, catalog_id)
        assert catalog is not None
        catalog.report = {**catalog.report, "columns": columns}


def test_answer_columns_follow_the_uploaded_ones(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    products = table(["7", "A", "deux\nlignes", "é"], header="ref,designation,description,note")
    text = results(api, mine, feeder, products)
    assert text.splitlines()[0] == f"ref,designation,description,note,{ANSWER}"
    [row] = csv.DictReader(io.StringIO(text, newline=""))
    assert list(row.values()) == [
        "7", "A", "deux\nlignes", "é",
        "10", "Livres", "0.9", "10:0.9", "text=10:0.9", "", "done", "",
    ]  # fmt: skip


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
    form = Form(("designation", *[""] * 999), ",", has_bom=False)
    row = Row(1, 2, {"designation": "a"}, values=("a",))
    pieces = list(_csv_lines([[(row, {})] * 3_000], form, {}, raw=True))
    assert max(map(len, pieces)) < 1_100_000
    assert sum(map(len, pieces)) > 3_000_000


def test_long_column_names_are_sent_in_pieces() -> None:
    row = Row(1, 2, {"n" * 10_000: ""})
    pieces = list(_json_lines([[(row, {})] * 1_000], {}))
    assert max(map(len, pieces)) < 1_100_000
    assert sum(map(len, pieces)) > 10_000_000


@pytest.mark.parametrize(
    ("cells", "rows"),
    [({"description": "x" * 1_000_000}, 8), (dict.fromkeys(map(str, range(1_000)), ""), 80)],
    ids=["long", "wide"],
)
def test_page_of_large_rows_has_fewer_rows(cells: dict[str, str], rows: int) -> None:
    assert len(next_page(Row(n, n, cells) for n in range(1_000))) == rows


def test_many_rows_are_read_in_pages(api: Api, mine: dict[str, str], feeder: Feeders) -> None:
    products = table(*([f"title {n}"] for n in range(1_050)), header="designation")
    rows = list(csv.DictReader(io.StringIO(results(api, mine, feeder, products))))
    assert [row["designation"] for row in rows] == [f"title {n}" for n in range(1_050)]
    assert {row["status"] for row in rows} == {"done"}
