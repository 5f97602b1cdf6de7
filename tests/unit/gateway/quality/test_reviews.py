"""Answers that were chosen for people: listed with what they need to tell the truth."""

from typing import Any

import pytest

from shared.db.models import Job, Review, Role
from tests.support.factories import make_job
from tests.unit.gateway.conftest import Api

RESULT: dict[str, object] = {
    "category": "Piscine et accessoires",
    "top": [
        {"prdtypecode": 2583, "category": "Piscine et accessoires", "probability": 0.6},
        {"prdtypecode": 10, "category": "Livres", "probability": 0.4},
    ],
    "modalities": {},
    "degraded": None,
}


@pytest.fixture
def operator(api: Api) -> dict[str, str]:
    return api.sign(api.user(Role.OPERATOR, username="otto"))


@pytest.fixture
def jobs(api: Api) -> list[Job]:
    """Three answers that were chosen, the last one labelled, and one that was not."""
    ada = api.user()
    answer = {"status": "done", "prdtypecode": 2583, "confidence": 0.6, "result": RESULT}
    made = [make_job(ada, **answer, label=label) for label in (None, None, 10, None)]
    api.add(*made)
    for job, reason in zip(made[:3], ("random", "uncertain", "random"), strict=True):
        api.add(Review(job_id=job.id, reason=reason, chance=0.25, random_chance=0.1))
    return made


def found(api: Api, headers: dict[str, str], **query: str) -> list[dict[str, Any]]:
    """The items of a page."""
    answer = api.client.get("/v1/reviews", headers=headers, params=query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def test_review_has_the_product_its_answer_and_why_it_was_chosen(
    api: Api, operator: dict[str, str], jobs: list[Job]
) -> None:
    one = found(api, operator)[-1]
    assert (one["job_id"], one["reason"], one["chance"]) == (jobs[0].id, "random", 0.25)
    assert (one["designation"], one["image"], one["label"]) == ("Piscine gonflable", None, None)
    assert one["result"]["prdtypecode"] == 2583
    assert [top["prdtypecode"] for top in one["result"]["top"]] == [2583, 10]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [2, 1, 0]),
        ({"labelled": "false"}, [1, 0]),
        ({"labelled": "true"}, [2]),
        ({"reason": "random"}, [2, 0]),
        ({"reason": "uncertain", "labelled": "true"}, []),
    ],
)
def test_reviews_are_sought_by_reason_and_label(
    api: Api,
    operator: dict[str, str],
    jobs: list[Job],
    query: dict[str, str],
    expected: list[int],
) -> None:
    shown = [one["job_id"] for one in found(api, operator, **query)]
    assert shown == [jobs[number].id for number in expected]


def test_pages_give_every_review_once(api: Api, operator: dict[str, str], jobs: list[Job]) -> None:
    first = api.client.get("/v1/reviews?limit=2", headers=operator).json()
    rest = found(api, operator, cursor=first["next_cursor"])
    ids = [one["job_id"] for one in (*first["items"], *rest)]
    assert ids == [job.id for job in reversed(jobs[:3])]


def test_labelled_review_is_no_longer_asked_for(
    api: Api, operator: dict[str, str], jobs: list[Job]
) -> None:
    path = f"/v1/jobs/{jobs[0].id}/label"
    assert api.client.put(path, headers=operator, json={"prdtypecode": 10}).status_code == 200
    (left,) = found(api, operator, labelled="false")
    assert left["job_id"] == jobs[1].id
    (told,) = (one for one in found(api, operator) if one["job_id"] == jobs[0].id)
    assert (told["label"], told["labelled_by"]) == (10, "otto")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\xff\xd8\xff\xe0rest", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\nrest", "image/png"),
        (b"<script>", "application/octet-stream"),
    ],
)
def test_image_of_a_review_is_shown_as_what_it_is(
    api: Api, operator: dict[str, str], jobs: list[Job], content: bytes, kind: str
) -> None:
    uri = api.services.storage.put("images", content)
    with api.unit_of_work() as work:
        for job in jobs:
            work.session.get_one(Job, job.id).image_uri = uri
    path = found(api, operator)[-1]["image"]
    answer = api.client.get(path, headers=operator)
    assert (answer.status_code, answer.content) == (200, content)
    assert answer.headers["content-type"] == kind
    assert answer.headers["x-content-type-options"] == "nosniff"
    # Of what was not chosen, an operator sees nothing.
    other = api.client.get(f"/v1/reviews/{jobs[3].id}/image", headers=operator)
    assert other.status_code == 404


def test_review_without_a_image_has_none_to_show(
    api: Api, operator: dict[str, str], jobs: list[Job]
) -> None:
    answer = api.client.get(f"/v1/reviews/{jobs[0].id}/image", headers=operator)
    assert answer.status_code == 404


def test_reviews_are_not_for_clients(api: Api, mine: dict[str, str]) -> None:
    assert api.client.get("/v1/reviews", headers=mine).status_code == 403
