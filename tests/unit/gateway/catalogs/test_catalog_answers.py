"""Answers of a catalog: filters, order, pages, counts and the precision dial."""

import csv
import io
import json
from dataclasses import replace
from typing import Any

import pytest
from python_calamine import CalamineWorkbook

from gateway.quality.precision.dial import ENOUGH_LABELS
from shared.db.models import Catalog, Role, row_job_id
from shared.inference.releases.confidence import (
    Calibration,
    HeldOutConfidence,
    logit,
    sigmoid,
)
from tests.support.answered_catalog import answered_catalog, failed_row
from tests.support.factories import make_manifest
from tests.unit.gateway.conftest import Api

ROWS: list[dict[str, Any]] = [
    {"designation": "Piscine d'été ronde", "confidence": 0.99},
    {"designation": "Chaise", "description": "Pour la TERRASSE, 50% de coton", "confidence": 0.4},
    {"designation": "Livre d'enfant", "prdtypecode": 10, "confidence": 0.97, "label": 10},
    {"designation": "Piscine à boules", "prdtypecode": 10, "confidence": 0.6, "label": 2583},
    {"designation": "Bâche", "confidence": 0.85, "image_uri": "pictures/1", "degraded": "no_text"},
]


class Shop:
    """A user with a catalog of answered rows."""

    def __init__(self, api: Api, rows: list[dict[str, Any]], **changes: Any) -> None:
        self.api = api
        self.user = api.user()
        self.headers = api.sign(self.user)
        catalog, *jobs = answered_catalog(self.user, rows, **changes)
        api.add(catalog)
        api.add(*jobs)
        self.catalog: Catalog = catalog

    def get(self, path: str, **query: Any) -> Any:
        answer = self.api.client.get(
            f"/v1/catalogs/{self.catalog.id}/{path}", headers=self.headers, params=query
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def rows(self, **query: Any) -> list[int]:
        return [one["row"] for one in self.get("answers", **query)["items"]]


@pytest.fixture
def shop(api: Api) -> Shop:
    return Shop(api, ROWS)


def test_item_has_what_a_screen_shows(shop: Shop) -> None:
    first, *_, last = shop.get("answers")["items"]
    assert first == {
        "row": 1,
        "job_id": row_job_id(shop.catalog.id, 1),
        "title": "Piscine d'été ronde",
        "has_image": False,
        "status": "done",
        "prdtypecode": 2583,
        "category": "Piscine et accessoires",
        "category_path": [],
        "confidence": 0.99,
        "degraded": None,
        "degraded_message": None,
        "error": None,
        "novelty": None,
        "is_foreign": None,
        "label": None,
        "is_accepted": None,
    }
    assert (last["has_image"], last["degraded"]) == (True, "no_text")
    assert last["degraded_message"] == "The image cannot be read"


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ({}, [1, 2, 3, 4, 5]),
        ({"category": 10}, [3, 4]),
        ({"min_confidence": 0.97}, [1, 3]),
        ({"max_confidence": 0.6}, [2, 4]),
        ({"min_confidence": 0.5, "max_confidence": 0.9}, [4, 5]),
        ({"label": "none"}, [1, 2, 5]),
        ({"label": "any"}, [3, 4]),
        ({"label": "equal"}, [3]),
        ({"label": "other"}, [4]),
        ({"status": "done"}, [1, 2, 3, 4, 5]),
        ({"status": "failed"}, []),
        ({"text": "piscine"}, [1, 4]),
        ({"text": "PISCINE ETE"}, [1]),
        ({"text": "Été"}, [1]),
        ({"text": "terrasse"}, [2]),
        ({"text": "bache"}, [5]),
        ({"text": "50%"}, [2]),
        ({"text": "%"}, [2]),
        ({"text": "_"}, []),
        ({"text": "pi.cine"}, []),
        ({"text": "  "}, [1, 2, 3, 4, 5]),
        ({"text": "piscine", "category": 10}, [4]),
        ({"sort": "confidence"}, [2, 4, 5, 3, 1]),
        ({"sort": "-confidence"}, [1, 3, 5, 4, 2]),
        ({"sort": "-confidence", "category": 10}, [3, 4]),
        ({"target": 0.95, "accepted": True}, [1, 3]),
        ({"target": 0.95, "accepted": False}, [2, 4, 5]),
        ({"target": 0.95, "accepted": False, "label": "none"}, [2, 5]),
        ({"target": 1, "accepted": True}, []),
        ({"target": 1, "accepted": False}, [1, 2, 3, 4, 5]),
        ({"target": 0.9, "accepted": True, "by_category": True}, [1, 3, 5]),
    ],
)
def test_filters_and_order(shop: Shop, query: dict[str, Any], rows: list[int]) -> None:
    assert shop.rows(**query) == rows


@pytest.mark.parametrize("sort", ["row", "confidence", "-confidence"])
def test_pages_contain_each_row_once_in_the_same_order(api: Api, sort: str) -> None:
    shop = Shop(api, [{"confidence": row % 4 / 4} for row in range(25)])
    whole, found, cursor = shop.rows(sort=sort, limit=200), [], None
    while True:
        query = {"sort": sort, "limit": 4} | ({"cursor": cursor} if cursor else {})
        page = shop.get("answers", **query)
        found += [one["row"] for one in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == whole
    assert sorted(found) == list(range(1, 26))


def test_cursor_of_another_order_is_refused(shop: Shop) -> None:
    cursor = shop.get("answers", limit=1)["next_cursor"]
    for query in ({"sort": "confidence", "cursor": cursor}, {"cursor": "x"}, {"cursor": "eA=="}):
        answer = shop.api.client.get(
            f"/v1/catalogs/{shop.catalog.id}/answers", headers=shop.headers, params=query
        )
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["field"] == "cursor"


def test_accepted_without_target_is_refused(shop: Shop) -> None:
    answer = shop.api.client.get(
        f"/v1/catalogs/{shop.catalog.id}/answers?accepted=true", headers=shop.headers
    )
    assert answer.status_code == 422


def test_row_without_answer_is_listed_in_the_order_of_rows_only(shop: Shop) -> None:
    shop.api.add(failed_row(shop.catalog, shop.user, 6))
    assert shop.rows() == [1, 2, 3, 4, 5, 6]
    assert shop.rows(status="failed") == [6]
    assert shop.rows(sort="confidence") == [2, 4, 5, 3, 1]
    last = shop.get("answers", target=0.5)["items"][-1]
    assert (last["is_accepted"], last["error"]["code"]) == (None, "image_unreadable")


def test_long_title_is_cut(api: Api) -> None:
    shop = Shop(api, [{"designation": "x" * 5_000}])
    assert shop.get("answers")["items"][0]["title"] == "x" * 300


def test_catalog_without_answers_has_empty_lists(api: Api) -> None:
    shop = Shop(api, [])
    assert shop.get("answers") == {"items": [], "next_cursor": None}
    assert shop.get("answers/categories") == {"items": []}
    found = shop.get("precision", target=0.9)
    assert (found["rows"], found["is_reached"], found["reachable"]) == (0, False, None)
    assert shop.get("precision", target=0.9, by_category=True)["categories"] == []


def test_categories_are_counted_by_answer(shop: Shop) -> None:
    assert shop.get("answers/categories")["items"] == [
        {
            "prdtypecode": 2583,
            "category": "Piscine et accessoires",
            "category_path": [],
            "rows": 3,
            "labelled": 0,
        },
        {"prdtypecode": 10, "category": "Livres", "category_path": [], "rows": 2, "labelled": 2},
    ]


def test_categories_have_their_codes_while_the_registry_is_away(shop: Shop) -> None:
    shop.api.releases.is_down = True
    assert [one["category"] for one in shop.get("answers/categories")["items"]] == ["2583", "10"]


def test_dial_accepts_from_the_lowest_confidence_that_reaches_the_target(shop: Shop) -> None:
    found = shop.get("precision", target=0.93)
    assert (found["threshold"], found["accepted"], found["rows"]) == (0.85, 3, 5)
    assert found["expected_precision"] == pytest.approx((0.99 + 0.97 + 0.85) / 3)
    assert found["low"] < found["expected_precision"] < found["high"] <= 1
    assert (found["share"], found["review"]) == (0.6, 1)
    assert (found["is_estimate"], found["method"], found["labelled"]) == (True, "confidences", 2)
    assert found["labels"]["rows"] == found["labels"]["right"] == 1


def test_target_out_of_reach_is_reported_with_the_best_one(shop: Shop) -> None:
    found = shop.get("precision", target=0.995)
    assert (found["is_reached"], found["reachable"]) == (False, 0.99)
    assert (found["threshold"], found["accepted"], found["expected_precision"]) == (None, 0, None)
    assert found["review"] == 3


def test_each_category_reaches_the_target_by_itself(shop: Shop) -> None:
    found = shop.get("precision", target=0.9, by_category=True)
    by_code = {one["prdtypecode"]: one for one in found["categories"]}
    assert by_code[2583]["threshold"] == 0.85
    assert by_code[10]["threshold"] == 0.97
    assert found["accepted"] == by_code[2583]["accepted"] + by_code[10]["accepted"] == 3
    assert found["threshold"] == 0.85


def test_enough_labels_correct_overconfident_answers(api: Api) -> None:
    labels = [2583 if number % 2 else 10 for number in range(ENOUGH_LABELS)]
    shop = Shop(api, [{"confidence": 0.99, "label": label} for label in labels])
    found = shop.get("precision", target=0.95)
    assert (found["is_estimate"], found["method"]) == (False, "labels")
    assert found["is_reached"] is False
    assert 0.4 < found["reachable"] < 0.75
    half = shop.get("precision", target=0.4)
    assert half["accepted"] == ENOUGH_LABELS // 2, "answers that a label contradicts are left out"
    assert (half["labels"]["rows"], half["labels"]["right"]) == (ENOUGH_LABELS, ENOUGH_LABELS // 2)
    assert half["labels"]["low"] < 0.5 < half["labels"]["high"]


def test_few_labels_leave_the_confidences_alone(api: Api) -> None:
    rows = [{"confidence": 0.99, "label": 10} for _ in range(ENOUGH_LABELS - 1)]
    found = Shop(api, rows).get("precision", target=0.98)
    assert (found["is_estimate"], found["is_reached"]) == (True, True)


OVERCONFIDENT = HeldOutConfidence(450, Calibration(0.0, 0.4))


def state(api: Api, shop: Shop, **stated: HeldOutConfidence) -> None:
    """Let the release of a catalog state how often its answers are right."""
    figures = {name: one for kind, of in stated.items() for name, one in of.named(kind).items()}
    version = shop.catalog.release
    api.releases.manifests[version] = make_manifest(figures=figures)


def test_held_out_products_of_the_release_correct_the_confidences(api: Api, shop: Shop) -> None:
    assert shop.get("precision", target=0.85)["held_out"] == 0
    state(api, shop, text=OVERCONFIDENT)
    found = shop.get("precision", target=0.85)
    assert (found["method"], found["held_out"], found["threshold"]) == ("confidences", 450, 0.99)
    assert found["expected_precision"] == pytest.approx(sigmoid(0.4 * logit(0.99)))
    assert shop.rows(target=0.85, accepted=True) == [1]
    assert results(shop, target=0.85).decode().count(",true\r\n") == 1


def test_catalog_with_images_takes_what_the_release_states_about_both(api: Api) -> None:
    shop = Shop(api, ROWS, has_images=True)
    state(api, shop, text=OVERCONFIDENT)
    assert shop.get("precision", target=0.85)["held_out"] == 0
    state(api, shop, text=OVERCONFIDENT, fusion=replace(OVERCONFIDENT, rows=47))
    assert shop.get("precision", target=0.85)["held_out"] == 47


def test_dial_trusts_the_confidences_while_the_registry_is_away(api: Api, shop: Shop) -> None:
    state(api, shop, text=OVERCONFIDENT)
    api.releases.is_down = True
    assert shop.get("precision", target=0.85)["held_out"] == 0


@pytest.mark.parametrize("path", ["answers", "answers/categories", "precision"])
def test_answers_of_others_are_not_found(shop: Shop, path: str) -> None:
    for role in (Role.CLIENT, Role.OPERATOR):
        other = shop.api.sign(shop.api.user(role))
        answer = shop.api.client.get(f"/v1/catalogs/{shop.catalog.id}/{path}", headers=other)
        assert answer.status_code == 404


def test_catalogs_of_two_users_do_not_mix(api: Api) -> None:
    one, other = Shop(api, ROWS), Shop(api, [{"confidence": 0.1}] * 2)
    assert (len(one.rows()), len(other.rows())) == (5, 2)
    assert other.get("precision", target=0.9)["rows"] == 2
    assert [each["rows"] for each in other.get("answers/categories")["items"]] == [2]


@pytest.mark.parametrize(
    "query", ["target=0", "target=1.5", "target=nan", "min_confidence=nan", "sort=title", "limit=0"]
)
def test_values_out_of_range_are_refused(shop: Shop, query: str) -> None:
    answer = shop.api.client.get(
        f"/v1/catalogs/{shop.catalog.id}/answers?{query}", headers=shop.headers
    )
    assert answer.status_code == 422


def results(shop: Shop, **query: Any) -> bytes:
    table = "designation\n" + "".join(f"row {number}\n" for number in range(len(ROWS)))
    storage = shop.api.services.storage
    storage.put_stream(f"catalogs/{shop.catalog.id}/products", io.BytesIO(table.encode()))
    answer = shop.api.client.get(
        f"/v1/catalogs/{shop.catalog.id}/results", headers=shop.headers, params=query
    )
    assert answer.status_code == 200, answer.text
    return answer.content


def test_results_state_which_answers_are_accepted(shop: Shop) -> None:
    query = {"target": 0.93}
    table = csv.DictReader(io.StringIO(results(shop, **query).decode()))
    lines = results(shop, **query, format="jsonl").splitlines()
    sheet = CalamineWorkbook.from_filelike(io.BytesIO(results(shop, **query, format="xlsx")))
    header, *cells = sheet.get_sheet_by_index(0).to_python()
    expected = [True, False, True, False, True]
    assert [one["accepted"] == "true" for one in table] == expected
    assert [json.loads(line)["accepted"] for line in lines] == expected
    assert header[-1] == "accepted"
    assert [row[-1] for row in cells] == expected
    by_category = results(shop, target=0.99, by_category=True, format="jsonl").splitlines()
    assert [json.loads(line)["accepted"] for line in by_category] == [True] + [False] * 4


def test_results_contain_labels_on_request(shop: Shop) -> None:
    rows = list(csv.DictReader(io.StringIO(results(shop, labels=True).decode())))
    assert [one["label"] for one in rows] == ["", "", "10", "2583", ""]
    assert rows[2]["label_category"] == "Livres"


def test_results_have_codes_of_labels_while_the_registry_is_away(shop: Shop) -> None:
    shop.api.releases.is_down = True
    rows = list(csv.DictReader(io.StringIO(results(shop, labels=True).decode())))
    assert rows[2]["label_category"] == "10"


def test_columns_of_results_are_unchanged_by_default(shop: Shop) -> None:
    before, after = (
        results(shop, **query).decode().splitlines() for query in ({}, {"target": 0.9})
    )
    assert not {"accepted", "label"} & set(before[0].split(","))
    assert after[0] == f"{before[0]},accepted"
    assert all(new.startswith(old) for old, new in zip(before, after, strict=True))


def test_jobs_have_their_title_and_whether_there_is_an_image(shop: Shop) -> None:
    listed = shop.api.client.get("/v1/jobs", headers=shop.headers).json()["items"]
    titles = {one["title"]: one["has_image"] for one in listed}
    assert titles == {one["designation"]: "image_uri" in one for one in ROWS}
    job_id = row_job_id(shop.catalog.id, 5)
    one = shop.api.client.get(f"/v1/jobs/{job_id}", headers=shop.headers).json()
    assert (one["title"], one["has_image"]) == ("Bâche", True)


def test_submitted_job_has_its_title(shop: Shop) -> None:
    long = {"designation": "é" * 400}
    job = shop.api.client.post("/v1/jobs", headers=shop.headers, json=long).json()
    assert (job["title"], job["has_image"]) == ("é" * 300, False)


# Foreign products


@pytest.fixture
def mixed(api: Api) -> Shop:
    """Return a shop whose surest answer is to a car part."""
    rows: list[dict[str, Any]] = [
        {"designation": "Plaquettes de frein", "confidence": 0.99, "is_foreign": True},
        {"designation": "Piscine", "confidence": 0.98, "is_foreign": False},
        {"designation": "Bâche", "confidence": 0.97},
        {"designation": "Chaise", "confidence": 0.3, "is_foreign": False},
    ]
    return Shop(api, rows)


@pytest.mark.parametrize("by_category", [False, True])
def test_foreign_product_is_never_accepted(mixed: Shop, by_category: bool) -> None:
    query = {"target": 0.9, "by_category": by_category}
    found = mixed.get("precision", **query)
    counts = [found[name] for name in ("rows", "accepted", "review", "foreign")]
    assert counts == [4, 2, 2, 1]
    assert found["reachable"] == 0.98
    assert found["expected_precision"] == pytest.approx((0.98 + 0.97) / 2)
    items = mixed.get("answers", **query)["items"]
    assert [one["is_accepted"] for one in items] == [False, True, True, False]
    assert mixed.rows(**query, accepted=True) == [2, 3]
    assert mixed.rows(**query, accepted=False) == [1, 4]


def test_labels_of_foreign_products_do_not_correct_the_others(api: Api) -> None:
    foreign = {"confidence": 0.9, "prdtypecode": 10, "label": 2583, "is_foreign": True}
    shop = Shop(api, [*([foreign] * ENOUGH_LABELS), {"confidence": 0.9}])
    found = shop.get("precision", target=0.9)
    assert (found["method"], found["labelled"], found["accepted"]) == ("confidences", 0, 1)
    assert (found["review"], found["foreign"]) == (0, 0)


def test_answers_are_filtered_by_foreign(mixed: Shop) -> None:
    assert mixed.rows(foreign=True) == [1]
    assert mixed.rows(foreign=False) == [2, 3, 4]
    assert [one["is_foreign"] for one in mixed.get("answers")["items"]] == [
        True,
        False,
        None,
        False,
    ]


def test_item_says_how_foreign_its_product_looks(mixed: Shop) -> None:
    (item,) = mixed.get("answers", foreign=True)["items"]
    assert (item["novelty"], item["is_foreign"]) == (1.0, True)
