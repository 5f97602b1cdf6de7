"""Precision dial of a catalog in the client and on the command line."""

import json
from typing import Any

import pytest

from rayon import CategoryPrecision, LabelEvidence, Precision, Rayon, Refused
from tests.unit.client.conftest import Run
from tests.unit.client.service import SELECTION, FakeService

LABELS = {"rows": 40, "right": 39, "low": 0.87, "high": 0.996}
BOOKS = {**SELECTION, "prdtypecode": 10, "category": "Livres", "labels": LABELS}
NONE = {
    "is_reached": False,
    "reachable": 0.9,
    "threshold": None,
    "accepted": 0,
    "share": 0.0,
    "expected_precision": None,
    "low": None,
    "high": None,
}


def test_precision_of_a_catalog_is_read(client: Rayon, service: FakeService) -> None:
    service.add_catalog(id="shop", status="finished")
    service.precision |= {"categories": [BOOKS, {**BOOKS, **NONE, "labels": None}]}
    found = client.find_catalog("shop").precision(0.9, by_category=True)
    assert isinstance(found, Precision)
    assert (found.target, found.by_category, found.accepted) == (0.9, True, 1_000)
    assert (found.is_estimate, found.labels, found.labels_needed) == (True, None, 100)
    books, rest = found.categories
    assert isinstance(books, CategoryPrecision)
    assert (books.category, books.threshold) == ("Livres", 0.8512)
    assert books.labels == LabelEvidence(40, 39, 0.87, 0.996)
    assert (rest.threshold, rest.reachable, rest.labels) == (None, 0.9, None)
    assert found.raw["review"] == 390


def test_target_is_98_percent_by_default(client: Rayon, service: FakeService) -> None:
    service.add_catalog(id="shop", status="finished")
    found = client.find_catalog("shop").precision()
    assert (found.target, found.by_category) == (0.98, False)


def test_precision_of_an_unknown_catalog_is_refused(client: Rayon, service: FakeService) -> None:
    service.add_catalog(id="shop", status="finished")
    catalog = client.find_catalog("shop")
    del service.catalogs["shop"]
    with pytest.raises(Refused):
        catalog.precision()


@pytest.mark.usefixtures("signed_in")
@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        (
            {},
            [
                "For 98 % right answers: accept 1,000 of 1,400 answers (71.43 %), from confidence "
                "0.8512; 98.34 % of them are expected to be right (97.1 % to 99 %). "
                "Left for review: 390",
                "An estimate by the confidences: 100 labels or more correct it, right answers "
                "included; the catalog has 12.",
            ],
        ),
        (
            {**NONE, "is_estimate": False, "method": "labels"},
            [
                "For 98 % right answers: none can be accepted; the surest answers reach 90 %.",
            ],
        ),
        (
            {**NONE, "rows": 0, "reachable": None},
            ["For 98 % right answers: there are no answers to accept."],
        ),
    ],
)
def test_target_is_reported_without_a_file(
    run: Run, service: FakeService, changes: dict[str, Any], lines: list[str]
) -> None:
    service.add_catalog(id="shop", status="finished")
    service.precision |= changes
    ended = run("catalog --resume shop --target .98")
    assert ended.exit_code == 0
    assert ended.stdout.splitlines()[-len(lines) :] == lines


@pytest.mark.usefixtures("signed_in")
def test_thresholds_by_category_are_listed(run: Run, service: FakeService) -> None:
    service.add_catalog(id="shop", status="finished")
    toys = {**BOOKS, **NONE, "prdtypecode": 1280, "category": "Jouets"}
    service.precision |= {"categories": [BOOKS, toys]}
    ended = run("catalog --resume shop --target .98 --by-category")
    assert ended.stdout.splitlines()[-2:] == [
        "10\tLivres\t1400\t1000\t390\t0.8512\t98.34 %",
        "1280\tJouets\t1400\t0\t390\t\t",
    ]


@pytest.mark.usefixtures("signed_in")
def test_precision_is_part_of_the_json(run: Run, service: FakeService) -> None:
    service.add_catalog(id="shop", status="finished")
    found = json.loads(run("catalog --resume shop --target .9 --json").stdout)
    assert (found["id"], found["precision"]["target"]) == ("shop", 0.9)
    assert "precision" not in json.loads(run("catalog --resume shop --json").stdout)


@pytest.mark.usefixtures("signed_in")
def test_catalog_without_answers_has_no_precision(run: Run, service: FakeService) -> None:
    service.add_catalog(id="dry", status="finished", dry_run=True)
    assert "right answers" not in run("catalog --resume dry --target .98").stdout
