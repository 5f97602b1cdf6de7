"""Reviews over HTTP: answers chosen for labelling, with their products and images."""

from typing import Any

import pytest

from shared.db.models import Job, Review, Role, User, now
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
    """Create three reviews, the last one labelled, and a job that is not under review."""
    ada, olga = api.user(), api.user(Role.OPERATOR, username="olga")
    answer = {"status": "done", "prdtypecode": 2583, "confidence": 0.6, "result": RESULT}
    made = [make_job(ada, **answer, label=label) for label in (None, None, 10, None)]
    made[2].labelled_at, made[2].labelled_by_id = now(), olga.id
    api.add(*made)
    for job, reason in zip(made[:3], ("random", "uncertain", "random"), strict=True):
        api.add(Review(job_id=job.id, reason=reason, chance=0.25, random_chance=0.1))
    return made


def found(api: Api, headers: dict[str, str], **query: str) -> list[dict[str, Any]]:
    """Return the items of a page."""
    answer = api.client.get("/v1/reviews", headers=headers, params=query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def test_review_has_the_product_the_answer_and_the_reason(
    api: Api, operator: dict[str, str], jobs: list[Job]
) -> None:
    review = found(api, operator)[-1]
    assert (review["job_id"], review["reason"], review["chance"]) == (jobs[0].id, "random", 0.25)
    assert (review["designation"], review["image"], review["label"]) == (
        "Piscine gonflable",
        None,
        None,
    )
    assert review["result"]["prdtypecode"] == 2583
    assert [top["prdtypecode"] for top in review["result"]["top"]] == [2583, 10]


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
def test_reviews_are_filtered_by_reason_and_label(
    api: Api,
    operator: dict[str, str],
    jobs: list[Job],
    query: dict[str, str],
    expected: list[int],
) -> None:
    shown = [review["job_id"] for review in found(api, operator, **query)]
    assert shown == [jobs[number].id for number in expected]


def test_pages_return_every_review_once(
    api: Api, operator: dict[str, str], jobs: list[Job]
) -> None:
    first = api.client.get("/v1/reviews?limit=2", headers=operator).json()
    rest = found(api, operator, cursor=first["next_cursor"])
    ids = [review["job_id"] for review in (*first["items"], *rest)]
    assert ids == [job.id for job in reversed(jobs[:3])]


def test_labelled_review_leaves_the_list_of_unlabelled_ones(
    api: Api, operator: dict[str, str], jobs: list[Job]
) -> None:
    path = f"/v1/jobs/{jobs[0].id}/label"
    assert api.client.put(path, headers=operator, json={"prdtypecode": 10}).status_code == 200
    (left,) = found(api, operator, labelled="false")
    assert left["job_id"] == jobs[1].id
    (labelled,) = (review for review in found(api, operator) if review["job_id"] == jobs[0].id)
    assert (labelled["label"], labelled["labelled_by"]) == (10, "otto")


def test_label_of_the_client_does_not_take_an_answer_from_the_reviewers(
    api: Api, operator: dict[str, str], jobs: list[Job]
) -> None:
    owner = api.get(User, jobs[0].user_id)
    assert owner is not None
    path = f"/v1/jobs/{jobs[0].id}/label"
    assert api.client.put(path, headers=api.sign(owner), json={"prdtypecode": 10}).is_success
    left = {review["job_id"]: review["label"] for review in found(api, operator, labelled="false")}
    assert left == {jobs[1].id: None, jobs[0].id: 10}


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\xff\xd8\xff\xe0rest", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\nrest", "image/png"),
        (b"<script>", "application/octet-stream"),
    ],
)
def test_review_image_has_the_content_type_of_its_bytes(
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
    # An operator may not see the images of jobs that are not under review.
    other = api.client.get(f"/v1/reviews/{jobs[3].id}/image", headers=operator)
    assert other.status_code == 404


def test_review_without_an_image_is_404(
    api: Api, operator: dict[str, str], jobs: list[Job]
) -> None:
    answer = api.client.get(f"/v1/reviews/{jobs[0].id}/image", headers=operator)
    assert answer.status_code == 404


def test_reviews_are_403_for_clients(api: Api, mine: dict[str, str]) -> None:
    assert api.client.get("/v1/reviews", headers=mine).status_code == 403
