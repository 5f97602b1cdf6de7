"""Cells that a spreadsheet would run as formulas are escaped, in headers too."""

import csv
import io

import pytest

from shared.db.models import Job
from shared.tables.safe_cells import safe_cell
from tests.unit.gateway.catalogs.catalog_system import (
    Feeders,
    answer_all,
    send,
    step_until_checked,
)
from tests.unit.gateway.conftest import Api

FORMULAS = ["=1", "+cmd", "-lot", "@x", "\t=1", "\r=1", "\n=1", "＝1", "＋cmd", "－lot", "＠x"]


@pytest.mark.parametrize("cell", [*FORMULAS, " =1", "\ufeff=1", "\u200b=1", "﹦1", "-1e5", "+inf"])
def test_formula_is_escaped(cell: str) -> None:
    assert safe_cell(cell) == f"'{cell}"


@pytest.mark.parametrize(
    "cell", ["", "a", "-5.2", "-3,5", "+33", "1=1", "lot - 2", " a", "é", "'=1"]
)
def test_other_cells_and_numbers_are_unchanged(cell: str) -> None:
    assert safe_cell(cell) == cell


@pytest.mark.parametrize("name", FORMULAS)
def test_headers_of_results_and_of_rejected_rows_are_escaped(
    api: Api, mine: dict[str, str], feeder: Feeders, name: str
) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("designation", name), ("A", "1"), ("", "2")])
    # The reader of catalogs expects the header in one line.
    products = text.getvalue().replace(name, name.replace("\n", " ").replace("\r", " ")).encode()
    name = name.replace("\n", " ").replace("\r", " ")
    catalog = send(api, mine, products)
    step_until_checked(api, feeder(), catalog["id"])
    path = f"/v1/catalogs/{catalog['id']}"
    for address, position in ((f"{path}/results", 1), (f"{path}/errors", 6)):
        header, *_ = csv.reader(io.StringIO(api.client.get(address, headers=mine).text))
        assert header[position] == f"'{name}"
    raw = api.client.get(f"{path}/results?raw=true", headers=mine).text
    assert next(csv.reader(io.StringIO(raw)))[1] == name


def test_names_of_categories_are_escaped(api: Api, mine: dict[str, str], feeder: Feeders) -> None:
    catalog = send(api, mine, b"designation\nA\n")
    running = feeder()
    step_until_checked(api, running, catalog["id"])
    running.step()
    result: dict[str, object] = {"category": "=1+1", "top": [], "modalities": {}, "degraded": None}
    answer_all(api, catalog["id"], Job.status == "queued", result=result)
    path = f"/v1/catalogs/{catalog['id']}/results"
    [row] = csv.DictReader(io.StringIO(api.client.get(path, headers=mine).text))
    assert row["category"] == "'=1+1"
    assert '"category": "=1+1"' in api.client.get(f"{path}?format=jsonl", headers=mine).text
