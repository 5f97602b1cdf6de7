"""A cancelled catalog is resumed: its unfinished rows run once, and its answers stay."""

import csv
import io
from typing import Any

import httpx2
import pytest
from sqlalchemy import update

from gateway.catalogs.feeder import Feeder
from gateway.jobs.stored_bytes import stored_bytes
from shared.db.models import Catalog, Job, Score, row_job_id
from tests.unit.gateway.catalogs.catalog_system import (
    Feeders,
    answer_all,
    archive,
    images_sent,
    jobs_of,
    send,
    show,
    step_until_checked,
    table,
    texts_sent,
)
from tests.unit.gateway.conftest import Api

TITLES = [f"title {number}" for number in range(1, 11)]
TABLE = table(*((title, "", "") for title in TITLES))
WITH_IMAGES = table(*((title, "", f"{number % 2}.jpg") for number, title in enumerate(TITLES)))
ARCHIVE = archive(**{"0": b"an image", "1": b"another"})


def cancelled(
    api: Api, headers: dict[str, str], running: Feeder, products: bytes, images: bytes | None = None
) -> str:
    """Cancel a catalog of ten rows, of which two are answered and two are queued; return its ID."""
    catalog = send(api, headers, products, images)
    step_until_checked(api, running, catalog["id"])
    running.step()
    answered = Job.id < row_job_id(catalog["id"], 3)
    answer_all(api, catalog["id"], answered)
    assert len(jobs_of(api, catalog["id"])) == 4
    api.client.delete(f"/v1/catalogs/{catalog['id']}", headers=headers)
    counts = show(api, headers, catalog["id"])["counts"]
    assert (counts["done"], counts["cancelled"]) == (2, 8)
    return str(catalog["id"])


def resume(
    api: Api, headers: dict[str, str], catalog_id: str, images: bytes | None = None
) -> httpx2.Response:
    files = {} if images is None else {"images": ("shop.zip", images)}
    address = f"/v1/catalogs/{catalog_id}/resume"
    return api.client.post(address, headers=headers, files=files or None)


def run_to_the_end(api: Api, running: Feeder, headers: dict[str, str], id_: str) -> dict[str, Any]:
    for _ in range(10):
        running.step()
        answer_all(api, id_)
    return show(api, headers, id_)


def narrow(feeder: Feeders) -> Feeder:
    """Return a feeder that queues four rows at a time."""
    return feeder(text_slice=2, text_window=4, image_slice=2, image_window=4)


def test_unfinished_rows_run_once_in_the_same_catalog(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    running = narrow(feeder)
    id_ = cancelled(api, mine, running, TABLE)
    before = len(texts_sent(api))
    # When it is resumed, its rows count as queued
    answer = resume(api, mine, id_)
    assert (answer.status_code, answer.json()["status"]) == (202, "running")
    counts = answer.json()["counts"]
    assert (counts["queued"], counts["done"], counts["cancelled"]) == (8, 2, 0)
    # Then the cancelled rows and those that had no job yet are sent, each once
    found = run_to_the_end(api, running, mine, id_)
    sent = [title for titles in texts_sent(api)[before:] for title in titles]
    assert sent == TITLES[2:]
    assert found["status"] == "finished"
    assert found["counts"] == {
        "rows": 10, "rejected": 0, "queued": 0, "done": 10, "failed": 0, "cancelled": 0,
    }  # fmt: skip
    rows = api.client.get(f"/v1/catalogs/{id_}/results", headers=mine).text
    assert [row["status"] for row in csv.DictReader(io.StringIO(rows))] == ["done"] * 10
    assert len(api.client.get("/v1/catalogs", headers=mine).json()["items"]) == 1


def test_counts_are_right_in_the_middle(api: Api, mine: dict[str, str], feeder: Feeders) -> None:
    running = feeder(text_slice=1, text_window=1)
    catalog = send(api, mine, TABLE)
    step_until_checked(api, running, catalog["id"])
    wide = narrow(feeder)
    running.close()
    wide.step()
    api.client.delete(f"/v1/catalogs/{catalog['id']}", headers=mine)
    resume(api, mine, catalog["id"])
    wide.close()
    running.step()
    # One row is queued again, three are still cancelled jobs, and six have no job.
    assert show(api, mine, catalog["id"])["counts"]["queued"] == 10
    answer_all(api, catalog["id"])
    counts = show(api, mine, catalog["id"])["counts"]
    assert (counts["queued"], counts["done"], counts["cancelled"]) == (9, 1, 0)


def test_catalog_that_is_cancelled_and_resumed_at_once_loses_no_row(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    running = narrow(feeder)
    # The feeder has the file open beyond the first row that has to run again.
    id_ = cancelled(api, mine, running, TABLE)
    resume(api, mine, id_)
    assert run_to_the_end(api, running, mine, id_)["counts"]["done"] == 10


def test_catalog_can_be_cancelled_and_resumed_again(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    running = narrow(feeder)
    id_ = cancelled(api, mine, running, TABLE)
    resume(api, mine, id_)
    running.step()
    api.client.delete(f"/v1/catalogs/{id_}", headers=mine)
    counts = show(api, mine, id_)["counts"]
    assert (counts["done"], counts["cancelled"], counts["queued"]) == (2, 8, 0)
    assert resume(api, mine, id_).status_code == 202
    assert run_to_the_end(api, running, mine, id_)["counts"]["done"] == 10


def test_catalog_that_was_cancelled_during_its_check_is_checked_again(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    catalog = send(api, mine, TABLE)
    api.client.delete(f"/v1/catalogs/{catalog['id']}", headers=mine)
    assert resume(api, mine, catalog["id"]).json()["status"] == "validating"
    running = feeder()
    step_until_checked(api, running, catalog["id"])
    assert run_to_the_end(api, running, mine, catalog["id"])["counts"]["done"] == 10


def test_failed_scores_of_a_cancelled_row_are_forgotten(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    running = narrow(feeder)
    id_ = cancelled(api, mine, running, TABLE)
    job_id = row_job_id(id_, 3)
    with api.unit_of_work() as work:
        work.session.add(
            Score(job_id=job_id, modality="text", release="1", error_code="x", error_message="x")
        )
        work.session.execute(update(Job).where(Job.id == job_id).values(attempts=7))
    resume(api, mine, id_)
    running.step()
    assert api.get(Score, (job_id, "text")) is None
    job = api.get(Job, job_id)
    assert job is not None
    assert (job.status, job.attempts, job.finished_at) == ("queued", 0, None)


def test_catalog_with_images_needs_its_archive_again(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    running = narrow(feeder)
    id_ = cancelled(api, mine, running, WITH_IMAGES, ARCHIVE)
    # Its images may be gone too, since no job needs them.
    for job in jobs_of(api, id_):
        api.services.storage.remove(job.image_uri or "")
    for images, expected in (
        (
            None,
            "Expected the image archive again, which was deleted when the catalog was cancelled",
        ),
        (archive(**{"0": b"changed", "1": b"another"}), "Expected the archive that was sent first"),
    ):
        answer = resume(api, mine, id_, images)
        assert answer.status_code == 422
        assert expected in answer.json()["errors"][0]["message"]
        assert show(api, mine, id_)["status"] == "cancelled"
    before = len(images_sent(api))
    assert resume(api, mine, id_, ARCHIVE).status_code == 202
    assert run_to_the_end(api, running, mine, id_)["counts"]["done"] == 10
    again = [uri for uris in images_sent(api)[before:] for uri in uris]
    assert len(again) == 8
    assert {api.services.storage.get(uri) for uri in again} == {b"an image", b"another"}


def test_bytes_of_a_resumed_catalog_count_again(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    running = narrow(feeder)
    id_ = cancelled(api, mine, running, WITH_IMAGES, ARCHIVE)
    catalog = api.get(Catalog, id_)
    assert catalog is not None

    def stored() -> int:
        with api.unit_of_work.reading() as session:
            return stored_bytes(session, catalog.user_id)

    before = stored()
    resume(api, mine, id_, ARCHIVE)
    assert stored() == before + len(ARCHIVE)
    run_to_the_end(api, running, mine, id_)
    assert stored() == len(WITH_IMAGES) + len(b"an image") + len(b"another")


def test_archive_of_a_catalog_without_images_is_refused(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    id_ = cancelled(api, mine, narrow(feeder), TABLE)
    answer = resume(api, mine, id_, ARCHIVE)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "images"


@pytest.mark.parametrize("status", ["validating", "running", "finished", "failed"])
def test_only_cancelled_catalogs_are_resumed(api: Api, mine: dict[str, str], status: str) -> None:
    catalog = send(api, mine, TABLE)
    with api.unit_of_work() as work:
        work.session.execute(update(Catalog).values(status=status))
    answer = resume(api, mine, catalog["id"])
    assert answer.status_code == 409
    assert f"one that is {status}" in answer.json()["detail"]


def test_catalog_whose_table_was_deleted_is_not_resumed(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    id_ = cancelled(api, mine, narrow(feeder), TABLE)
    with api.unit_of_work() as work:
        work.session.execute(update(Catalog).values(size=0))
    answer = resume(api, mine, id_)
    assert answer.status_code == 409
    assert "Send it as a new catalog" in answer.json()["detail"]


def test_catalog_whose_rows_are_all_final_is_not_resumed(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    catalog = send(api, mine, TABLE)
    running = feeder()
    step_until_checked(api, running, catalog["id"])
    running.step()
    answer_all(api, catalog["id"])
    api.client.delete(f"/v1/catalogs/{catalog['id']}", headers=mine)
    answer = resume(api, mine, catalog["id"])
    assert answer.status_code == 409
    assert "No row of this catalog was cancelled" in answer.json()["detail"]


def test_resumed_catalog_counts_against_the_limit_of_catalogs(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    running = narrow(feeder)
    id_ = cancelled(api, mine, running, TABLE)
    limit = api.services.catalogs.settings.max_unfinished
    for number in range(limit):
        send(api, mine, TABLE, key=str(number))
    assert resume(api, mine, id_).status_code == 429
    assert show(api, mine, id_)["status"] == "cancelled"
