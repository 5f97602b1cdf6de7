"""The feeder turns each row into one job and bounds the queue, whatever fails meanwhile."""

import csv
import io
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from zipfile import ZipInfo

import pytest
from sqlalchemy import update

from gateway.catalogs import feeder as feeders
from gateway.catalogs import held_catalogs, slices
from gateway.catalogs.files import CatalogFiles
from gateway.catalogs.image_archive import Archive
from gateway.catalogs.row_check import Checked
from gateway.catalogs.slices import MISSING_IMAGE
from shared.contracts import Modality
from shared.db.models import Catalog, User, now
from shared.errors import InvalidInput, Unavailable
from shared.storage import Storage
from tests.support.servers import until
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

#: Ten rows of text; the sixth is rejected.
TEN = table(
    *([f"ref {n}", f"title {n}" if n != 6 else "", "", ""] for n in range(1, 11)),
    header="ref,designation,description,image",
)
NINE = [f"title {n}" for n in range(1, 11) if n != 6]


def fed(api: Api, catalog_id: str) -> list[str]:
    return [job.designation for job in jobs_of(api, catalog_id)]


def test_rows_become_jobs_in_slices_except_rejected_ones(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    catalog = send(api, mine, TEN)
    running = feeder(text_slice=4)
    step_until_checked(api, running, catalog["id"])
    running.step()
    assert fed(api, catalog["id"]) == NINE
    assert texts_sent(api) == [NINE[:4], NINE[4:7], NINE[7:]]
    found = show(api, mine, catalog["id"])
    assert found["status"] == "running"
    assert found["counts"] == {
        "rows": 10, "rejected": 1, "queued": 9, "done": 0, "failed": 0, "cancelled": 0,
    }  # fmt: skip


def test_catalog_is_finished_after_its_last_answer(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    catalog = send(api, mine, TEN)
    running = feeder()
    step_until_checked(api, running, catalog["id"])
    running.step()
    running.step()
    assert show(api, mine, catalog["id"])["status"] == "running"
    answer_all(api, catalog["id"])
    running.step()
    found = show(api, mine, catalog["id"])
    assert (found["status"], found["counts"]["done"]) == ("finished", 9)
    assert found["rows_per_second"] > 0
    assert found["eta_seconds"] is None


def test_announced_catalog_is_processed_without_waiting_for_the_next_look(
    api: Api, mine: dict[str, str], feeder: Feeders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeders, "IDLE_SECONDS", 60)
    running, stop = feeder(), threading.Event()
    thread = threading.Thread(target=running.run, args=(stop,))
    thread.start()
    try:
        catalog = send(api, mine, TEN)
        assert api.broker.unfed == [catalog["id"]]
        running.hurry()
        until(lambda: len(fed(api, catalog["id"])) == 9, 20, "the rows are fed")
    finally:
        stop.set()
        running.hurry()
        thread.join(20)
    assert not thread.is_alive()


def test_client_that_waits_for_a_catalog_is_answered_once_it_is_finished(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    catalog = send(api, mine, TEN)
    running = feeder()
    step_until_checked(api, running, catalog["id"])
    running.step()
    answers: list[Any] = []

    def ask() -> None:
        path = f"/v1/catalogs/{catalog['id']}?wait=30"
        answers.append(api.client.get(path, headers=mine).json())

    client = threading.Thread(target=ask)
    client.start()
    until(lambda: {catalog["id"]} in api.asked, 10, "the client waits")
    answer_all(api, catalog["id"])
    assert answers == []
    running.step()
    assert api.broker.announced == [catalog["id"]]
    client.join(10)
    assert [answer["status"] for answer in answers] == ["finished"]


def test_queued_rows_do_not_exceed_the_window(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    titles = [f"title {n}" for n in range(10)]
    catalog = send(api, mine, table(*([title, "", ""] for title in titles)))
    running = feeder(text_slice=2, text_window=4)
    step_until_checked(api, running, catalog["id"])
    for _ in range(3):
        running.step()
    # Two slices fill the window; no further rows are fed until these are answered.
    assert fed(api, catalog["id"]) == titles[:4]
    answer_all(api, catalog["id"])
    running.step()
    assert fed(api, catalog["id"]) == titles[:8]


def test_window_grows_with_the_workers_of_its_modality(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    titles = [f"title {n}" for n in range(10)]
    catalog = send(api, mine, table(*([title, "", ""] for title in titles)))
    workers = {Modality.TEXT: 2, Modality.IMAGE: 1}
    running = feeder(workers, text_slice=2, text_window=4)
    step_until_checked(api, running, catalog["id"])
    for _ in range(3):
        running.step()
    # More text workers, as an autoscaler starts them, get more texts, however few image workers
    # there are.
    assert fed(api, catalog["id"]) == titles[:8]


def test_catalogs_of_a_user_share_one_window(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    theirs = api.sign(api.user())
    sent = [send(api, who, TEN) for who in (mine, mine, theirs)]
    running = feeder(text_slice=2, text_window=4)
    for catalog in sent:
        step_until_checked(api, running, catalog["id"])
    for _ in range(3):
        running.step()
    counts = [len(jobs_of(api, catalog["id"])) for catalog in sent]
    assert counts[2] == 4
    assert counts[0] + counts[1] == 4


def test_row_with_a_missing_image_is_scored_by_text(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    rows = table(["A", "", "a.jpg"], ["B", "", "absent.jpg"], ["C", "", ""])
    catalog = send(api, mine, rows, archive(a=b"an image", unused=b"x"))
    running = feeder()
    step_until_checked(api, running, catalog["id"])
    running.step()
    first, second, third = jobs_of(api, catalog["id"])
    assert api.services.storage.get(first.image_uri or "") == b"an image"
    assert second.image_uri == MISSING_IMAGE
    assert (third.image_uri, third.wants_image) == (None, False)
    assert images_sent(api) == [[first.image_uri, MISSING_IMAGE]]
    found = show(api, mine, catalog["id"])
    assert found["unmatched_images"] == ["absent.jpg"]
    assert (found["unused_images"], found["warnings"]) == (["unused.jpg"], 1)


def test_slices_with_images_are_smaller(api: Api, mine: dict[str, str], feeder: Feeders) -> None:
    rows = table(*(["A", "", "a.jpg"] for _ in range(5)))
    catalog = send(api, mine, rows, archive(a=b"an image"))
    running = feeder(image_slice=2)
    step_until_checked(api, running, catalog["id"])
    running.step()
    assert [len(message) for message in images_sent(api)] == [2, 2, 1]


def test_image_of_many_rows_is_unpacked_once(
    api: Api, mine: dict[str, str], feeder: Feeders, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, original = [], Archive.read

    def counting(of: Archive, entry: ZipInfo) -> bytes:
        read.append(entry.filename)
        return original(of, entry)

    monkeypatch.setattr(Archive, "read", counting)
    rows = table(*(["A", "", name] for name in ("a.jpg", "b.jpg", "A.jpg", "a.jpg") * 5))
    catalog = send(api, mine, rows, archive(a=b"an image", b=b"another"))
    running = feeder()
    step_until_checked(api, running, catalog["id"])
    running.step()
    kept = [api.services.storage.get(job.image_uri or "") for job in jobs_of(api, catalog["id"])]
    assert kept == [b"an image", b"another", b"an image", b"an image"] * 5
    assert read == ["a.jpg", "b.jpg"]


def test_cancelled_catalog_is_no_longer_fed(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    catalog = send(api, mine, TEN)
    running = feeder(text_slice=2, text_window=4)
    step_until_checked(api, running, catalog["id"])
    running.step()
    answer = api.client.delete(f"/v1/catalogs/{catalog['id']}", headers=mine).json()
    assert (answer["status"], answer["counts"]["cancelled"]) == ("cancelled", 9)
    running.step()
    assert {job.status for job in jobs_of(api, catalog["id"])} == {"cancelled"}
    assert len(jobs_of(api, catalog["id"])) == 4


def test_another_feeder_continues_after_the_lease_expires(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    catalog = send(api, mine, TEN)
    dead = feeder(text_slice=2, text_window=4)
    step_until_checked(api, dead, catalog["id"])
    dead.step()
    # Given another feeder, which waits until the lease of the first expires
    heir = feeder(text_slice=2)
    object.__setattr__(heir._leases, "owner", "heir:1")
    heir.step()
    assert fed(api, catalog["id"]) == NINE[:4]
    with api.unit_of_work() as work:
        work.session.execute(update(Catalog).values(leased_until=now() - timedelta(seconds=1)))
    # I expect one job for each row, and the first feeder to have lost the lease
    heir.step()
    assert fed(api, catalog["id"]) == NINE
    dead.step()
    assert fed(api, catalog["id"]) == NINE


@pytest.mark.usefixtures("without_back_off")
def test_storage_failure_within_a_slice_loses_no_row(
    api: Api, mine: dict[str, str], feeder: Feeders, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = table(*([f"{n}", "", "a.jpg"] for n in range(4)))
    catalog = send(api, mine, rows, archive(a=b"an image"))
    running = feeder(image_slice=2)
    put, calls = Storage.put, 0

    def failing(storage: Storage, folder: str, content: bytes) -> str:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Unavailable("The storage is full")
        return put(storage, folder, content)

    monkeypatch.setattr(Storage, "put", failing)
    step_until_checked(api, running, catalog["id"])
    running.step()
    running.step()
    running.step()
    assert fed(api, catalog["id"]) == ["0", "1", "2", "3"]
    assert [len(message) for message in images_sent(api)] == [2, 2]


@pytest.fixture
def without_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_catalogs, "DEFER_SECONDS", 0.0)
    monkeypatch.setattr(held_catalogs, "DEFER_FACTOR", 0)


def break_at(monkeypatch: pytest.MonkeyPatch, title: str, error: Exception) -> list[str]:
    """Make every attempt to feed the slice with this title fail; return the attempts."""
    original, attempts = slices.job_rows, []

    def failing(catalog: Catalog, checked: Sequence[Checked], *rest: Any) -> list[dict[str, Any]]:
        if any(found.row.get("designation") == title for found in checked):
            attempts.append(catalog.id)
            raise type(error)(*error.args)
        return original(catalog, checked, *rest)

    monkeypatch.setattr(slices, "job_rows", failing)
    return attempts


@pytest.mark.usefixtures("without_back_off")
@pytest.mark.parametrize(
    ("error", "code", "shown"),
    [
        (ValueError("secret"), "internal", "the service's log"),
        (InvalidInput("A sentence"), "invalid_input", "A sentence"),
    ],
)
def test_catalog_that_keeps_failing_ends_and_keeps_its_answers(
    api: Api,
    mine: dict[str, str],
    feeder: Feeders,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    code: str,
    shown: str,
) -> None:
    running = feeder(text_slice=4)
    broken, other = send(api, mine, TEN), send(api, mine, TEN.replace(b"title 7", b"title x"))
    attempts = break_at(monkeypatch, "title 7", error)
    for catalog in (broken, other):
        step_until_checked(api, running, catalog["id"])
    for _ in range(held_catalogs.MAX_DEFERRALS + 3):
        running.step()
    assert attempts == [broken["id"]] * (held_catalogs.MAX_DEFERRALS + 1)
    found = show(api, mine, broken["id"])
    assert (found["status"], found["error"]["code"]) == ("failed", code)
    assert "beyond row 4: " in found["error"]["message"]
    assert shown in found["error"]["message"]
    assert "secret" not in found["error"]["message"]
    assert len(fed(api, other["id"])) == 9
    # Rows fed before the failure are answered and appear in the results.
    answer_all(api, broken["id"])
    counts = show(api, mine, broken["id"])["counts"]
    assert (counts["done"], counts["queued"], counts["cancelled"]) == (4, 0, 5)
    results = api.client.get(f"/v1/catalogs/{broken['id']}/results", headers=mine)
    assert [row["status"] for row in csv.DictReader(io.StringIO(results.text))] == [
        *["done"] * 4,
        *["cancelled"] * 6,
    ]


@pytest.mark.usefixtures("without_back_off")
@pytest.mark.parametrize("error", [Unavailable("The storage is full"), OSError(28, "No space")])
def test_catalog_is_retried_until_the_storage_recovers(
    api: Api,
    mine: dict[str, str],
    feeder: Feeders,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    catalog = send(api, mine, TEN)
    running = feeder(text_slice=4)
    with monkeypatch.context() as patch:
        attempts = break_at(patch, "title 7", error)
        step_until_checked(api, running, catalog["id"])
        for _ in range(3 * held_catalogs.MAX_DEFERRALS):
            running.step()
    assert len(attempts) >= 3 * held_catalogs.MAX_DEFERRALS
    running.step()
    assert fed(api, catalog["id"]) == NINE


@pytest.mark.usefixtures("without_back_off")
def test_check_that_keeps_failing_fails_the_catalog(
    api: Api, mine: dict[str, str], feeder: Feeders, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = 0

    def failing(*_: object) -> None:
        nonlocal attempts
        attempts += 1
        raise RecursionError

    monkeypatch.setattr(CatalogFiles, "inspect", failing)
    catalog = send(api, mine, TEN)
    step_until_checked(api, feeder(), catalog["id"])
    found = show(api, mine, catalog["id"])
    assert (found["status"], found["error"]["code"]) == ("failed", "internal")
    assert attempts == held_catalogs.MAX_DEFERRALS + 1


def test_back_off_grows_with_the_time_to_open_the_file(
    api: Api, mine: dict[str, str], feeder: Feeders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_catalogs, "DEFER_SECONDS", 0.0)
    attempts = break_at(monkeypatch, "title 1", Unavailable("The storage is full"))

    original = CatalogFiles.products

    def slow(*args: Any) -> Any:
        time.sleep(0.1)
        return original(*args)

    catalog = send(api, mine, TEN)
    running = feeder()
    step_until_checked(api, running, catalog["id"])
    monkeypatch.setattr(CatalogFiles, "products", slow)
    before, began = len(attempts), time.monotonic()
    while time.monotonic() - began < 0.9:
        running.step()
    assert 1 <= len(attempts) - before <= 2


@pytest.mark.parametrize(
    "line",
    [
        rb'{"designation": "a \\ud800 b", "k\\udc00": "\\udfff"}',
        b'{"designation": "B", "note": ' + b"[" * 985 + b"]" * 985 + b"}",
    ],
)
def test_unusual_json_row_does_not_stop_the_catalog(
    api: Api, mine: dict[str, str], feeder: Feeders, line: bytes
) -> None:
    catalog = send(api, mine, b'{"designation": "A"}\n' + line + b'\n{"designation": "C"}\n')
    running = feeder()
    step_until_checked(api, running, catalog["id"])
    running.step()
    answer_all(api, catalog["id"])
    running.step()
    assert show(api, mine, catalog["id"])["status"] == "finished"
    assert {"A", "C"} <= {*fed(api, catalog["id"])}
    for query in ("", "?format=jsonl"):
        answer = api.client.get(f"/v1/catalogs/{catalog['id']}/results{query}", headers=mine)
        assert answer.status_code == 200


def test_broker_outage_delays_only_the_messages(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    catalog = send(api, mine, TEN)
    running = feeder()
    step_until_checked(api, running, catalog["id"])
    api.broker.is_down = True
    running.step()
    # The jobs are in the database, from which the sweeper publishes their messages.
    assert fed(api, catalog["id"]) == NINE


def test_retry_queues_only_the_failed_rows(api: Api, mine: dict[str, str], feeder: Feeders) -> None:
    catalog = send(api, mine, TEN)
    running = feeder(image_slice=2)
    step_until_checked(api, running, catalog["id"])
    running.step()
    failed: dict[str, Any] = {"status": "failed", "error_code": "delivery_failed", "result": None}
    answer_all(api, catalog["id"], **failed)
    running.step()
    assert show(api, mine, catalog["id"])["counts"]["failed"] == 9
    before = len(texts_sent(api))
    answer = api.client.post(f"/v1/catalogs/{catalog['id']}/retry", headers=mine)
    assert (answer.status_code, answer.json()["status"]) == (202, "running")
    assert api.broker.unfed == [catalog["id"]] * 2
    running.step()
    assert sorted(title for sent in texts_sent(api)[before:] for title in sent) == sorted(NINE)
    answer_all(api, catalog["id"])
    running.step()
    found = show(api, mine, catalog["id"])
    assert (found["status"], found["counts"]["done"]) == ("finished", 9)


def test_catalog_with_a_corrupt_archive_fails_with_the_reason(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    # Its end is valid, so the upload is accepted, but its list of entries is corrupt.
    broken = bytearray(archive(a=b"x"))
    at = broken.index(b"PK\x01\x02")
    broken[at : at + 4] = b"XXXX"
    catalog = send(api, mine, table(["A", "", "a.jpg"]), bytes(broken))
    step_until_checked(api, feeder(), catalog["id"])
    found = show(api, mine, catalog["id"])
    assert found["status"] == "failed"
    assert found["error"]["code"] == "invalid_input"
    assert "ZIP archive" in found["error"]["message"]


@pytest.mark.parametrize(
    ("rows", "expected"), [(b"designation\n", "at least one row"), (TEN, "at most 5 rows")]
)
def test_catalog_without_rows_or_with_too_many_rows_fails(
    api: Api, mine: dict[str, str], feeder: Feeders, rows: bytes, expected: str
) -> None:
    catalog = send(api, mine, rows)
    step_until_checked(api, feeder(max_rows=5), catalog["id"])
    found = show(api, mine, catalog["id"])
    assert found["status"] == "failed"
    assert expected in found["error"]["message"]


def test_catalog_of_a_deleted_user_is_not_fed(api: Api, feeder: Feeders) -> None:
    user = api.user()
    catalog = send(api, api.sign(user), TEN)
    running = feeder(text_slice=2, text_window=4)
    step_until_checked(api, running, catalog["id"])
    with api.unit_of_work() as work:
        work.session.delete(work.session.get(User, user.id))
    running.step()
    assert jobs_of(api, catalog["id"]) == []


def test_catalog_that_lost_a_row_fails_by_name(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    catalog = send(api, mine, TEN)
    running = feeder()
    step_until_checked(api, running, catalog["id"])
    running.step()
    with api.unit_of_work() as work:
        # As if the check and the feeding had read the file differently.
        found = work.session.get_one(Catalog, catalog["id"])
        found.rejected += 1
    answer_all(api, catalog["id"])
    running.step()
    shown = show(api, mine, catalog["id"])
    assert (shown["status"], shown["error"]["code"]) == ("failed", "rows_differ")
    assert "Expected 8 rows with jobs. Received: 9" in shown["error"]["message"]
