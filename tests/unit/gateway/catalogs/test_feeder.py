"""Rows become jobs: each one once, a bounded number at work, whatever breaks."""

import csv
import io
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from zipfile import ZipInfo

import pytest
from sqlalchemy import update

from gateway.catalogs import held_catalogs, slices
from gateway.catalogs.files import CatalogFiles
from gateway.catalogs.image_archive import Archive
from gateway.catalogs.row_check import Checked
from gateway.catalogs.slices import MISSING_IMAGE
from shared.contracts import Modality
from shared.db.models import Catalog, User, now
from shared.errors import InvalidInput, Unavailable
from shared.storage import Storage
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

#: Ten rows of text, the sixth of which is rejected.
TEN = table(
    *([f"ref {n}", f"title {n}" if n != 6 else "", "", ""] for n in range(1, 11)),
    header="ref,designation,description,image",
)
NINE = [f"title {n}" for n in range(1, 11) if n != 6]


def fed(api: Api, catalog_id: str) -> list[str]:
    return [job.designation for job in jobs_of(api, catalog_id)]


def test_rows_become_jobs_in_slices_and_rejected_ones_do_not(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    catalog = send(api, mine, TEN)
    works = feeder(text_slice=4)
    step_until_checked(api, works, catalog["id"])
    works.step()
    assert fed(api, catalog["id"]) == NINE
    assert texts_sent(api) == [NINE[:4], NINE[4:7], NINE[7:]]
    found = show(api, mine, catalog["id"])
    assert found["status"] == "running"
    assert found["counts"] == {
        "rows": 10, "rejected": 1, "queued": 9, "done": 0, "failed": 0, "cancelled": 0,
    }  # fmt: skip


def test_catalog_ends_when_its_last_row_does(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    catalog = send(api, mine, TEN)
    works = feeder()
    step_until_checked(api, works, catalog["id"])
    works.step()
    works.step()
    assert show(api, mine, catalog["id"])["status"] == "running"
    answer_all(api, catalog["id"])
    works.step()
    found = show(api, mine, catalog["id"])
    assert (found["status"], found["counts"]["done"]) == ("finished", 9)
    assert found["rows_per_second"] > 0
    assert found["eta_seconds"] is None


def test_only_a_window_of_rows_is_at_work(api: Api, mine: dict[str, str], feeder: Feeders) -> None:
    titles = [f"title {n}" for n in range(10)]
    catalog = send(api, mine, table(*([title, "", ""] for title in titles)))
    works = feeder(text_slice=2, text_window=4)
    step_until_checked(api, works, catalog["id"])
    for _ in range(3):
        works.step()
    # Two slices fill the window; nothing more comes until rows are answered.
    assert fed(api, catalog["id"]) == titles[:4]
    answer_all(api, catalog["id"])
    works.step()
    assert fed(api, catalog["id"]) == titles[:8]


def test_window_grows_with_the_workers_of_its_kind(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    titles = [f"title {n}" for n in range(10)]
    catalog = send(api, mine, table(*([title, "", ""] for title in titles)))
    many = {Modality.TEXT: 2, Modality.IMAGE: 1}
    works = feeder(many, text_slice=2, text_window=4)
    step_until_checked(api, works, catalog["id"])
    for _ in range(3):
        works.step()
    # More workers of texts, as a scaler starts them, get more texts, however few have images.
    assert fed(api, catalog["id"]) == titles[:8]


def test_window_is_shared_by_a_users_catalogs_and_each_user_has_one(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    theirs = api.sign(api.user())
    sent = [send(api, who, TEN) for who in (mine, mine, theirs)]
    works = feeder(text_slice=2, text_window=4)
    for catalog in sent:
        step_until_checked(api, works, catalog["id"])
    for _ in range(3):
        works.step()
    counts = [len(jobs_of(api, catalog["id"])) for catalog in sent]
    assert counts[2] == 4
    assert counts[0] + counts[1] == 4


def test_images_are_sent_and_missing_ones_degrade(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    rows = table(["A", "", "a.jpg"], ["B", "", "absent.jpg"], ["C", "", ""])
    catalog = send(api, mine, rows, archive(a=b"an image", unused=b"x"))
    works = feeder()
    step_until_checked(api, works, catalog["id"])
    works.step()
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
    works = feeder(image_slice=2)
    step_until_checked(api, works, catalog["id"])
    works.step()
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
    works = feeder()
    step_until_checked(api, works, catalog["id"])
    works.step()
    kept = [api.services.storage.get(job.image_uri or "") for job in jobs_of(api, catalog["id"])]
    assert kept == [b"an image", b"another", b"an image", b"an image"] * 5
    assert read == ["a.jpg", "b.jpg"]


def test_cancelled_catalog_is_fed_no_more(api: Api, mine: dict[str, str], feeder: Feeders) -> None:
    catalog = send(api, mine, TEN)
    works = feeder(text_slice=2, text_window=4)
    step_until_checked(api, works, catalog["id"])
    works.step()
    answer = api.client.delete(f"/v1/catalogs/{catalog['id']}", headers=mine).json()
    assert (answer["status"], answer["counts"]["cancelled"]) == ("cancelled", 9)
    works.step()
    assert {job.status for job in jobs_of(api, catalog["id"])} == {"cancelled"}
    assert len(jobs_of(api, catalog["id"])) == 4


def test_another_feeder_goes_on_where_one_died(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    catalog = send(api, mine, TEN)
    dead = feeder(text_slice=2, text_window=4)
    step_until_checked(api, dead, catalog["id"])
    dead.step()
    # Given another one, that waits for the lease of the first
    heir = feeder(text_slice=2)
    object.__setattr__(heir._leases, "owner", "heir:1")
    heir.step()
    assert fed(api, catalog["id"]) == NINE[:4]
    with api.unit_of_work() as work:
        work.session.execute(update(Catalog).values(leased_until=now() - timedelta(seconds=1)))
    # I expect each row to be one job, and the first to have lost it
    heir.step()
    assert fed(api, catalog["id"]) == NINE
    dead.step()
    assert fed(api, catalog["id"]) == NINE


@pytest.mark.usefixtures("without_pauses")
def test_storage_that_fails_in_a_slice_loses_no_row(
    api: Api, mine: dict[str, str], feeder: Feeders, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = table(*([f"{n}", "", "a.jpg"] for n in range(4)))
    catalog = send(api, mine, rows, archive(a=b"an image"))
    works = feeder(image_slice=2)
    put, calls = Storage.put, 0

    def failing(storage: Storage, folder: str, content: bytes) -> str:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Unavailable("The storage is full")
        return put(storage, folder, content)

    monkeypatch.setattr(Storage, "put", failing)
    step_until_checked(api, works, catalog["id"])
    works.step()
    works.step()
    works.step()
    assert fed(api, catalog["id"]) == ["0", "1", "2", "3"]
    assert [len(message) for message in images_sent(api)] == [2, 2]


@pytest.fixture
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_catalogs, "DEFER_SECONDS", 0.0)
    monkeypatch.setattr(held_catalogs, "DEFER_FACTOR", 0)


def break_at(monkeypatch: pytest.MonkeyPatch, title: str, error: Exception) -> list[str]:
    """Let the slice with this title fail whenever it is to be fed; returns when it did."""
    original, tries = slices.job_rows, []

    def failing(catalog: Catalog, checked: Sequence[Checked], *rest: Any) -> list[dict[str, Any]]:
        if any(one.row.designation == title for one in checked):
            tries.append(catalog.id)
            raise type(error)(*error.args)
        return original(catalog, checked, *rest)

    monkeypatch.setattr(slices, "job_rows", failing)
    return tries


@pytest.mark.usefixtures("without_pauses")
@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (ValueError("secret"), "internal", "the service's log"),
        (InvalidInput("A sentence"), "invalid_input", "A sentence"),
    ],
)
def test_catalog_that_fails_again_and_again_ends_and_keeps_its_answers(
    api: Api,
    mine: dict[str, str],
    feeder: Feeders,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    code: str,
    told: str,
) -> None:
    works = feeder(text_slice=4)
    broken, other = send(api, mine, TEN), send(api, mine, TEN.replace(b"title 7", b"title x"))
    tries = break_at(monkeypatch, "title 7", error)
    for catalog in (broken, other):
        step_until_checked(api, works, catalog["id"])
    for _ in range(held_catalogs.MAX_DEFERRALS + 3):
        works.step()
    assert tries == [broken["id"]] * (held_catalogs.MAX_DEFERRALS + 1)
    found = show(api, mine, broken["id"])
    assert (found["status"], found["error"]["code"]) == ("failed", code)
    assert "beyond row 4: " in found["error"]["message"]
    assert told in found["error"]["message"]
    assert "secret" not in found["error"]["message"]
    assert len(fed(api, other["id"])) == 9
    # What was fed before is answered, and read.
    answer_all(api, broken["id"])
    counts = show(api, mine, broken["id"])["counts"]
    assert (counts["done"], counts["queued"], counts["cancelled"]) == (4, 0, 5)
    results = api.client.get(f"/v1/catalogs/{broken['id']}/results", headers=mine)
    assert [row["status"] for row in csv.DictReader(io.StringIO(results.text))] == [
        *["done"] * 4,
        *["cancelled"] * 6,
    ]


@pytest.mark.usefixtures("without_pauses")
@pytest.mark.parametrize("error", [Unavailable("The storage is full"), OSError(28, "No space")])
def test_catalog_waits_for_a_disk_as_long_as_it_takes(
    api: Api,
    mine: dict[str, str],
    feeder: Feeders,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    catalog = send(api, mine, TEN)
    works = feeder(text_slice=4)
    with monkeypatch.context() as patch:
        tries = break_at(patch, "title 7", error)
        step_until_checked(api, works, catalog["id"])
        for _ in range(3 * held_catalogs.MAX_DEFERRALS):
            works.step()
    assert len(tries) >= 3 * held_catalogs.MAX_DEFERRALS
    works.step()
    assert fed(api, catalog["id"]) == NINE


@pytest.mark.usefixtures("without_pauses")
def test_check_that_fails_again_and_again_ends(
    api: Api, mine: dict[str, str], feeder: Feeders, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    def failing(*_: object) -> None:
        nonlocal tries
        tries += 1
        raise RecursionError

    monkeypatch.setattr(CatalogFiles, "inspect", failing)
    catalog = send(api, mine, TEN)
    step_until_checked(api, feeder(), catalog["id"])
    found = show(api, mine, catalog["id"])
    assert (found["status"], found["error"]["code"]) == ("failed", "internal")
    assert tries == held_catalogs.MAX_DEFERRALS + 1


def test_long_file_that_fails_leaves_the_others_their_time(
    api: Api, mine: dict[str, str], feeder: Feeders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_catalogs, "DEFER_SECONDS", 0.0)
    tries = break_at(monkeypatch, "title 1", Unavailable("The storage is full"))

    original = CatalogFiles.products

    def slow(*given: Any) -> Any:
        time.sleep(0.1)
        return original(*given)

    catalog = send(api, mine, TEN)
    works = feeder()
    step_until_checked(api, works, catalog["id"])
    monkeypatch.setattr(CatalogFiles, "products", slow)
    before, began = len(tries), time.monotonic()
    while time.monotonic() - began < 0.9:
        works.step()
    assert 1 <= len(tries) - before <= 2


@pytest.mark.parametrize(
    "line",
    [
        rb'{"designation": "a \\ud800 b", "k\\udc00": "\\udfff"}',
        b'{"designation": "B", "note": ' + b"[" * 985 + b"]" * 985 + b"}",
    ],
)
def test_strange_row_holds_nothing_up(
    api: Api, mine: dict[str, str], feeder: Feeders, line: bytes
) -> None:
    catalog = send(api, mine, b'{"designation": "A"}\n' + line + b'\n{"designation": "C"}\n')
    works = feeder()
    step_until_checked(api, works, catalog["id"])
    works.step()
    answer_all(api, catalog["id"])
    works.step()
    assert show(api, mine, catalog["id"])["status"] == "finished"
    assert {"A", "C"} <= {*fed(api, catalog["id"])}
    for query in ("", "?format=jsonl"):
        answer = api.client.get(f"/v1/catalogs/{catalog['id']}/results{query}", headers=mine)
        assert answer.status_code == 200


def test_queue_that_is_down_delays_nothing_but_the_messages(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    catalog = send(api, mine, TEN)
    works = feeder()
    step_until_checked(api, works, catalog["id"])
    api.broker.is_down = True
    works.step()
    # The sweeper sends what is in the database.
    assert fed(api, catalog["id"]) == NINE


def test_failed_rows_run_again_and_the_others_do_not(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    catalog = send(api, mine, TEN)
    works = feeder(image_slice=2)
    step_until_checked(api, works, catalog["id"])
    works.step()
    failed: dict[str, Any] = {"status": "failed", "error_code": "delivery_failed", "result": None}
    answer_all(api, catalog["id"], **failed)
    works.step()
    assert show(api, mine, catalog["id"])["counts"]["failed"] == 9
    before = len(texts_sent(api))
    answer = api.client.post(f"/v1/catalogs/{catalog['id']}/retry", headers=mine)
    assert (answer.status_code, answer.json()["status"]) == (202, "running")
    works.step()
    assert sorted(one for sent in texts_sent(api)[before:] for one in sent) == sorted(NINE)
    answer_all(api, catalog["id"])
    works.step()
    found = show(api, mine, catalog["id"])
    assert (found["status"], found["counts"]["done"]) == ("finished", 9)


def test_refused_archive_fails_the_catalog_with_the_reason(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    # It ends like an archive, and its list of entries is broken.
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
def test_catalog_without_rows_or_with_too_many_fails(
    api: Api, mine: dict[str, str], feeder: Feeders, rows: bytes, expected: str
) -> None:
    catalog = send(api, mine, rows)
    step_until_checked(api, feeder(max_rows=5), catalog["id"])
    found = show(api, mine, catalog["id"])
    assert found["status"] == "failed"
    assert expected in found["error"]["message"]


def test_deleted_user_leaves_nothing_to_feed(api: Api, feeder: Feeders) -> None:
    user = api.user()
    catalog = send(api, api.sign(user), TEN)
    works = feeder(text_slice=2, text_window=4)
    step_until_checked(api, works, catalog["id"])
    with api.unit_of_work() as work:
        work.session.delete(work.session.get(User, user.id))
    works.step()
    assert jobs_of(api, catalog["id"]) == []
