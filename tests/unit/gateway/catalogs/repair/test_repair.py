"""Rejected rows are repaired, run, and joined to the same results."""

import csv
import io
import json
import zipfile
from typing import Any

import pytest
from sqlalchemy import select, update

from gateway.catalogs.feeder import Feeder
from gateway.jobs.stored_bytes import stored_bytes
from shared.db.models import (
    AuditEntry,
    Catalog,
    CatalogRowRepair,
    Explanation,
    Job,
    Score,
    new_id,
    now,
    row_job_id,
)
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

Headers = dict[str, str]
LONG = "x" * 2_001
#: Rows 2 and 5 are too long, row 3 is empty of text, row 4 has a cell too many.
TABLE = table(
    ("title 1", "", "1.jpg"),
    (LONG, "about 2", "2.jpg"),
    ("", "", "3.jpg"),
    ("title 4", "about 4", "4.jpg", "one more"),
    (LONG, "=about 5", ""),
    ("title 6", "", ""),
)
FINAL = ("rejected", "queued", "done", "failed", "cancelled")


def finished(
    api: Api,
    headers: Headers,
    running: Feeder,
    products: bytes = TABLE,
    images: bytes | None = None,
    **fields: str,
) -> str:
    """Run a catalog to its end, and return its ID."""
    catalog = send(api, headers, products, images, **fields)
    step_until_checked(api, running, catalog["id"])
    run_to_the_end(api, running, catalog["id"])
    assert show(api, headers, catalog["id"])["status"] == "finished"
    return str(catalog["id"])


def run_to_the_end(api: Api, running: Feeder, id_: str) -> None:
    for _ in range(8):
        running.step()
        answer_all(api, id_)


def rows(api: Api, headers: Headers, id_: str, **query: Any) -> dict[str, Any]:
    answer = api.client.get(f"/v1/catalogs/{id_}/rows", headers=headers, params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def change(api: Api, headers: Headers, id_: str, *changes: dict[str, Any], **more: Any) -> Any:
    body = {"rows": changes, **more}
    answer = api.client.patch(f"/v1/catalogs/{id_}/rows", headers=headers, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def run(api: Api, headers: Headers, id_: str, expected: int = 202) -> Any:
    answer = api.client.post(f"/v1/catalogs/{id_}/repair", headers=headers)
    assert answer.status_code == expected, answer.text
    return answer.json()


def add_images(api: Api, headers: Headers, id_: str, **images: bytes) -> Any:
    files = [("images", (name.replace("_", "."), content)) for name, content in images.items()]
    answer = api.client.post(f"/v1/catalogs/{id_}/images", headers=headers, files=files)
    assert answer.status_code == 200, answer.text
    return answer.json()


def results(api: Api, headers: Headers, id_: str) -> list[dict[str, str]]:
    text = api.client.get(f"/v1/catalogs/{id_}/results", headers=headers).text
    return list(csv.DictReader(io.StringIO(text)))


def counts(api: Api, headers: Headers, id_: str) -> tuple[int, ...]:
    found = show(api, headers, id_)["counts"]
    return tuple(found[name] for name in FINAL)


def test_rejected_rows_are_listed_with_their_reasons(
    api: Api, mine: Headers, feeder: Feeders
) -> None:
    id_ = finished(api, mine, feeder())
    found = rows(api, mine, id_)
    assert [(one["row"], one["line"], one["problem"]["code"]) for one in found["items"]] == [
        (2, 3, "text_too_long"),
        (3, 4, "nothing_to_classify"),
        (4, 5, "cells_differ"),
        (5, 6, "text_too_long"),
    ]
    first, _, third, fifth = found["items"]
    assert first["problem"]["column"] == "designation"
    assert first["cells"] == {"designation": LONG, "description": "about 2", "image": "2.jpg"}
    assert (first["status"], first["version"], first["job_id"]) == ("rejected", 0, None)
    assert third["cells"] == {"designation": "title 4", "description": "about 4", "image": "4.jpg"}
    # Cells are as uploaded, not escaped for spreadsheets.
    assert fifth["cells"]["description"] == "=about 5"
    assert {one["code"]: one["count"] for one in found["reasons"]} == {
        "text_too_long": 2, "nothing_to_classify": 1, "cells_differ": 1,
    }  # fmt: skip
    assert found["columns"] == ["designation", "description", "image"]


def test_rows_are_listed_page_by_page_and_by_reason(
    api: Api, mine: Headers, feeder: Feeders
) -> None:
    id_ = finished(api, mine, feeder())
    page = rows(api, mine, id_, limit=3)
    assert [one["row"] for one in page["items"]] == [2, 3, 4]
    page = rows(api, mine, id_, limit=3, cursor=page["next_cursor"])
    assert [one["row"] for one in page["items"]] == [5]
    assert page["next_cursor"] is None
    page = rows(api, mine, id_, limit=1, reason="text_too_long")
    assert [one["row"] for one in page["items"]] == [2]
    page = rows(api, mine, id_, limit=1, reason="text_too_long", cursor=page["next_cursor"])
    assert [one["row"] for one in page["items"]] == [5]
    wrong = api.client.get(f"/v1/catalogs/{id_}/rows?cursor=x", headers=mine)
    assert wrong.status_code == 422


def test_repaired_rows_join_the_same_results(api: Api, mine: Headers, feeder: Feeders) -> None:
    running = feeder()
    id_ = finished(api, mine, running)
    before = len(texts_sent(api))
    # When two of four rows are repaired and one is changed but still wrong
    answer = change(
        api, mine, id_,
        {"row": 2, "cells": {"designation": "title 2"}},
        {"row": 3, "cells": {"designation": "x" * 2_002}},
        {"row": 4, "cells": {"designation": "title four"}},
    )  # fmt: skip
    assert [(one["row"], one["saved"], one["item"]["status"]) for one in answer["items"]] == [
        (2, True, "repaired"), (3, True, "rejected"), (4, True, "repaired"),
    ]  # fmt: skip
    assert answer["items"][1]["item"]["problem"]["code"] == "text_too_long"
    assert answer["ready"] == 2
    assert counts(api, mine, id_) == (4, 0, 2, 0, 0)
    # And the repaired ones are run
    shown = run(api, mine, id_)
    assert shown["status"] == "running"
    assert [shown["counts"][name] for name in FINAL] == [2, 2, 2, 0, 0]
    run_to_the_end(api, running, id_)
    # Then only they were classified, under the job IDs of their rows
    assert [one for sent in texts_sent(api)[before:] for one in sent] == ["title 2", "title four"]
    assert show(api, mine, id_)["status"] == "finished"
    assert counts(api, mine, id_) == (2, 0, 4, 0, 0)
    assert [job.id for job in jobs_of(api, id_)] == [row_job_id(id_, one) for one in (1, 2, 4, 6)]
    found = results(api, mine, id_)
    assert [one["status"] for one in found] == [
        "done", "done", "rejected", "done", "rejected", "done",
    ]  # fmt: skip
    assert [one["designation"] for one in found[1:4]] == ["title 2", "", "title four"]
    assert found[3]["image"] == "4.jpg"
    errors = api.client.get(f"/v1/catalogs/{id_}/errors", headers=mine).text
    assert [row["row"] for row in csv.DictReader(io.StringIO(errors))] == ["3", "5"]
    left = rows(api, mine, id_)
    assert [one["row"] for one in left["items"]] == [3, 5]
    assert {one["code"]: one["count"] for one in left["reasons"]} == {
        "nothing_to_classify": 1, "text_too_long": 1,
    }  # fmt: skip
    assert run(api, mine, id_, 409)["detail"] == "No repaired row is ready to run"


@pytest.mark.parametrize("kind", ["jsonl", "xlsx"])
def test_every_format_of_results_shows_the_repaired_cells(
    api: Api, mine: Headers, feeder: Feeders, kind: str
) -> None:
    running = feeder()
    id_ = finished(api, mine, running)
    change(api, mine, id_, {"row": 2, "cells": {"designation": "title 2"}})
    run(api, mine, id_)
    run_to_the_end(api, running, id_)
    content = api.client.get(f"/v1/catalogs/{id_}/results?format={kind}", headers=mine).content
    if kind == "jsonl":
        second = json.loads(content.splitlines()[1])
        assert (second["designation"], second["status"]) == ("title 2", "done")
    else:
        with zipfile.ZipFile(io.BytesIO(content)) as book:
            sheet = book.read("xl/worksheets/sheet1.xml").decode()
        assert "<t>title 2</t>" in sheet
        assert LONG not in sheet.partition('r="5"')[0]


def test_rows_of_json_lines_are_repaired(api: Api, mine: Headers, feeder: Feeders) -> None:
    running = feeder()
    lines = [
        json.dumps({"designation": "title 1", "price": 3}),
        '{"designation": "broken',
        json.dumps({"designation": LONG, "price": 4}),
    ]
    id_ = finished(api, mine, running, "\n".join(lines).encode())
    found = rows(api, mine, id_)
    assert [one["problem"]["code"] for one in found["items"]] == ["row_unreadable", "text_too_long"]
    change(
        api, mine, id_,
        {"row": 2, "cells": {"designation": "title 2"}},
        {"row": 3, "cells": {"designation": "title 3"}},
    )  # fmt: skip
    run(api, mine, id_)
    run_to_the_end(api, running, id_)
    content = api.client.get(f"/v1/catalogs/{id_}/results?format=jsonl", headers=mine).content
    shown = [json.loads(line) for line in content.splitlines()]
    assert [one["designation"] for one in shown] == ["title 1", "title 2", "title 3"]
    assert (shown[2]["price"], shown[2]["status"]) == (4, "done")


def test_last_change_wins_and_can_be_undone(api: Api, mine: Headers, feeder: Feeders) -> None:
    running = feeder()
    id_ = finished(api, mine, running)
    change(api, mine, id_, {"row": 2, "cells": {"designation": "first", "description": "new"}})
    answer = change(api, mine, id_, {"row": 2, "cells": {"designation": "second"}})
    item = answer["items"][0]["item"]
    assert (item["cells"]["designation"], item["cells"]["description"]) == ("second", "new")
    assert (item["version"], sorted(item["changed"])) == (2, ["description", "designation"])
    # A cell as uploaded is no change
    answer = change(api, mine, id_, {"row": 2, "cells": {"description": "about 2"}})
    assert answer["items"][0]["item"]["changed"] == ["designation"]
    answer = change(api, mine, id_, {"row": 2, "cells": {"designation": None}})
    item = answer["items"][0]["item"]
    assert (item["status"], item["changed"], answer["ready"]) == ("rejected", [], 0)
    # A row that could not be read is wrong again, too
    change(api, mine, id_, {"row": 4, "cells": {"designation": "title"}})
    answer = change(api, mine, id_, {"row": 4, "cells": None})
    assert answer["items"][0]["item"]["problem"]["code"] == "cells_differ"
    assert run(api, mine, id_, 409)


def test_row_that_ran_is_repaired_again(api: Api, mine: Headers, feeder: Feeders) -> None:
    running = feeder()
    id_ = finished(api, mine, running)
    change(api, mine, id_, {"row": 2, "cells": {"designation": "first"}})
    run(api, mine, id_)
    run_to_the_end(api, running, id_)
    answer = change(api, mine, id_, {"row": 2, "cells": {"designation": "second"}})
    assert (answer["items"][0]["item"]["status"], answer["ready"]) == ("repaired", 1)
    # Until it runs, the results show what was answered
    assert results(api, mine, id_)[1]["designation"] == "first"
    answer = change(api, mine, id_, {"row": 2, "cells": None})
    assert answer["ready"] == 0
    change(api, mine, id_, {"row": 2, "cells": {"designation": "second"}})
    run(api, mine, id_)
    assert counts(api, mine, id_) == (3, 1, 2, 0, 0)
    run_to_the_end(api, running, id_)
    assert counts(api, mine, id_) == (3, 0, 3, 0, 0)
    assert results(api, mine, id_)[1]["designation"] == "second"
    assert len(jobs_of(api, id_)) == 3


def test_explanation_of_the_answer_before_a_repair_is_deleted(
    api: Api, mine: Headers, feeder: Feeders
) -> None:
    running = feeder()
    id_ = finished(api, mine, running)
    change(api, mine, id_, {"row": 2, "cells": {"designation": "first"}})
    run(api, mine, id_)
    run_to_the_end(api, running, id_)
    with api.unit_of_work() as work:
        of_job = {"job_id": row_job_id(id_, 2), "modality": "text", "status": "done"}
        work.session.add(Explanation(**of_job, requested_by_id=new_id(), expires_at=now()))
    change(api, mine, id_, {"row": 2, "cells": {"designation": "second"}})
    run(api, mine, id_)
    running.step()
    with api.unit_of_work.reading() as session:
        assert session.scalars(select(Explanation)).all() == []


def test_two_people_do_not_overwrite_each_other(api: Api, mine: Headers, feeder: Feeders) -> None:
    id_ = finished(api, mine, feeder())
    change(api, mine, id_, {"row": 2, "cells": {"designation": "mine"}, "version": 0})
    answer = change(
        api, mine, id_,
        {"row": 2, "cells": {"designation": "theirs"}, "version": 0},
        {"row": 3, "cells": {"designation": "title 3"}, "version": 0},
    )  # fmt: skip
    refused, saved = answer["items"]
    assert (refused["saved"], saved["saved"]) == (False, True)
    assert "somebody has changed since" in refused["error"]
    assert refused["item"]["cells"]["designation"] == "mine"


def test_wrong_changes_stop_no_others(api: Api, mine: Headers, feeder: Feeders) -> None:
    id_ = finished(api, mine, feeder())
    answer = change(
        api, mine, id_,
        {"row": 6, "cells": {"designation": "it is answered"}},
        {"row": 99, "cells": {"designation": "it does not exist"}},
        {"row": 2, "cells": {"colour": "red"}},
        {"row": 3, "cells": {"designation": "title 3"}},
    )  # fmt: skip
    assert [one["saved"] for one in answer["items"]] == [False, False, False, True]
    assert "has a complete answer" in answer["items"][0]["error"]
    assert "does not exist" in answer["items"][1]["error"]
    assert "Expected one of the columns designation" in answer["items"][2]["error"]
    assert answer["ready"] == 1


def test_one_cell_fills_all_rows_with_one_reason(api: Api, mine: Headers, feeder: Feeders) -> None:
    id_ = finished(api, mine, feeder())
    fill = {"reason": "text_too_long", "column": "designation", "value": "a title"}
    answer = change(api, mine, id_, fill=fill)
    assert (answer["filled"], answer["ready"]) == (2, 2)
    titles = {one["row"]: one["cells"]["designation"] for one in rows(api, mine, id_)["items"]}
    assert titles == {2: "a title", 3: "", 4: "title 4", 5: "a title"}
    body = {"fill": {**fill, "column": "colour"}}
    wrong = api.client.patch(f"/v1/catalogs/{id_}/rows", headers=mine, json=body)
    assert wrong.status_code == 422


def test_cell_that_fills_many_rows_is_short(api: Api, mine: Headers, feeder: Feeders) -> None:
    id_ = finished(api, mine, feeder())
    fill = {"reason": "text_too_long", "column": "description", "value": "x" * 10_001}
    answer = api.client.patch(f"/v1/catalogs/{id_}/rows", headers=mine, json={"fill": fill})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "fill.value")


@pytest.mark.parametrize("cursor", ["x", "-1", "9" * 5_000])
def test_cursor_that_is_no_row_is_refused(
    api: Api, mine: Headers, feeder: Feeders, cursor: str
) -> None:
    id_ = finished(api, mine, feeder())
    answer = api.client.get(f"/v1/catalogs/{id_}/rows", headers=mine, params={"cursor": cursor})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "cursor")


def test_image_of_a_rejected_row_outlives_the_archive(
    api: Api, mine: Headers, feeder: Feeders
) -> None:
    running = feeder()
    id_ = finished(api, mine, running, images=archive(**{"1": b"one", "2": b"two", "4": b"four"}))
    change(api, mine, id_, {"row": 2, "cells": {"designation": "title 2"}})
    before = len(images_sent(api))
    run(api, mine, id_)
    run_to_the_end(api, running, id_)
    uris = [uri for sent in images_sent(api)[before:] for uri in sent]
    assert [api.services.storage.get(uri) for uri in uris] == [b"two"]


def test_missing_images_are_added_by_name(api: Api, mine: Headers, feeder: Feeders) -> None:
    running = feeder()
    images = archive(**{"1": b"one"})
    products = table(
        ("title 1", "", "1.jpg"), (LONG, "", "2.jpg"), ("", "", "3.jpg"), ("title 4", "", "4.jpg")
    )
    catalog = send(api, mine, products, images)
    id_ = str(catalog["id"])
    step_until_checked(api, running, id_)
    running.step()
    lacking = Job.id == row_job_id(id_, 4)
    degraded = {
        "category": "Livres", "top": [], "modalities": {},
        "degraded": "image_missing", "degraded_message": "No image is stored.",
    }  # fmt: skip
    answer_all(api, id_, lacking, result=degraded)
    run_to_the_end(api, running, id_)
    with api.unit_of_work() as work:
        work.session.add(Score(job_id=row_job_id(id_, 4), modality="text", release="1"))
    found = rows(api, mine, id_, status="degraded")
    assert [(one["row"], one["status"], one["image"]) for one in found["items"]] == [
        (4, "degraded", "4.jpg")
    ]
    # An image that alone makes a row right, one for an answered row, and others
    answer = add_images(
        api,
        mine,
        id_,
        **{"2_jpg": b"two", "3_jpg": b"three", "4_jpg": b"four", "5_jpg": b"five", "a_txt": b"x"},
    )
    assert (answer["rows"], answer["images"], answer["ready"]) == (3, 3, 2)
    assert answer["unused"] == ["5.jpg"]
    assert answer["refused"][0].startswith("a.txt: ")
    # Row 2 has its image, but its title is still too long
    listed = {one["row"]: one for one in rows(api, mine, id_)["items"]}
    assert (listed[2]["has_image"], listed[2]["status"]) == (True, "rejected")
    assert (listed[3]["has_image"], listed[3]["status"]) == (True, "repaired")
    before = len(images_sent(api))
    run(api, mine, id_)
    assert counts(api, mine, id_) == (1, 2, 1, 0, 0)
    run_to_the_end(api, running, id_)
    uris = [uri for sent in images_sent(api)[before:] for uri in sent]
    assert [api.services.storage.get(uri) for uri in uris] == [b"three", b"four"]
    assert api.get(Score, (row_job_id(id_, 4), "text")) is None
    assert counts(api, mine, id_) == (1, 0, 3, 0, 0)
    assert [one["rayon_message"] for one in results(api, mine, id_)][2:] == ["", ""]
    assert rows(api, mine, id_, status="degraded")["items"] == []


def test_browser_asks_again_for_the_image_of_a_row(
    api: Api, mine: Headers, feeder: Feeders
) -> None:
    id_ = finished(api, mine, feeder(), table(("title", "", "a.jpg")), archive(a=b"an image"))
    answer = api.client.get(f"/v1/jobs/{row_job_id(id_, 1)}/image", headers=mine)
    assert answer.headers["cache-control"] == "private, no-cache"
    again = {**mine, "If-None-Match": answer.headers["etag"]}
    same = api.client.get(f"/v1/jobs/{row_job_id(id_, 1)}/image", headers=again)
    assert (same.status_code, same.headers["cache-control"]) == (304, "private, no-cache")


def test_images_of_a_catalog_without_an_archive_are_added_later(
    api: Api, mine: Headers, feeder: Feeders
) -> None:
    running = feeder()
    id_ = finished(api, mine, running)
    found = rows(api, mine, id_, status="degraded")
    assert [(one["row"], one["image"]) for one in found["items"]] == [(1, "1.jpg")]
    assert found["reasons"] == [{"code": "image_not_sent", "count": 1}]
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w") as packed:
            packed.writestr("1.jpg", b"one")
        answer = add_images(api, mine, id_, images_zip=file.getvalue())
    assert (answer["rows"], answer["ready"]) == (1, 1)
    run(api, mine, id_)
    run_to_the_end(api, running, id_)
    assert rows(api, mine, id_, status="degraded")["items"] == []
    assert results(api, mine, id_)[0]["rayon_message"] == ""


def test_failed_rows_are_listed(api: Api, mine: Headers, feeder: Feeders) -> None:
    running = feeder()
    catalog = send(api, mine, TABLE)
    id_ = str(catalog["id"])
    step_until_checked(api, running, id_)
    running.step()
    error = {"error_code": "model_failed", "error_message": "The model failed", "result": None}
    answer_all(api, id_, Job.id == row_job_id(id_, 6), status="failed", **error)
    run_to_the_end(api, running, id_)
    found = rows(api, mine, id_, status="failed")
    assert found["reasons"] == [{"code": "model_failed", "count": 1}]
    assert [(one["row"], one["problem"]["message"]) for one in found["items"]] == [
        (6, "The model failed")
    ]
    # A failed row can be changed and run, too
    change(api, mine, id_, {"row": 6, "cells": {"designation": "title six"}})
    run(api, mine, id_)
    run_to_the_end(api, running, id_)
    assert counts(api, mine, id_) == (4, 0, 2, 0, 0)
    assert results(api, mine, id_)[5]["designation"] == "title six"


def test_run_that_is_sent_twice_runs_once(api: Api, mine: Headers, feeder: Feeders) -> None:
    running = feeder()
    id_ = finished(api, mine, running)
    change(api, mine, id_, {"row": 2, "cells": {"designation": "title 2"}})
    before = len(texts_sent(api))
    run(api, mine, id_)
    run(api, mine, id_)
    refused = change(api, mine, id_, {"row": 2, "cells": {"designation": "too late"}})
    assert "is being classified" in refused["items"][0]["error"]
    run_to_the_end(api, running, id_)
    assert texts_sent(api)[before:] == [["title 2"]]


def test_rows_are_repaired_while_the_catalog_runs(api: Api, mine: Headers, feeder: Feeders) -> None:
    running = feeder()
    catalog = send(api, mine, TABLE)
    id_ = str(catalog["id"])
    step_until_checked(api, running, id_)
    change(api, mine, id_, {"row": 2, "cells": {"designation": "title 2"}})
    run(api, mine, id_)
    assert counts(api, mine, id_) == (3, 3, 0, 0, 0)
    run_to_the_end(api, running, id_)
    assert counts(api, mine, id_) == (3, 0, 3, 0, 0)
    assert show(api, mine, id_)["status"] == "finished"


def test_cancelled_run_can_be_resumed(api: Api, mine: Headers, feeder: Feeders) -> None:
    running = feeder(text_slice=1, text_window=1)
    id_ = finished(api, mine, feeder())
    change(
        api,
        mine,
        id_,
        {"row": 2, "cells": {"designation": "title 2"}},
        {"row": 5, "cells": {"designation": "title 5"}},
    )
    run(api, mine, id_)
    running.step()
    # One repaired row has its job, the other is still with the rejected ones
    assert counts(api, mine, id_) == (2, 2, 2, 0, 0)
    api.client.delete(f"/v1/catalogs/{id_}", headers=mine)
    assert counts(api, mine, id_) == (3, 0, 2, 0, 1)
    assert "Resume it first" in run(api, mine, id_, 409)["detail"]
    resumed = api.client.post(f"/v1/catalogs/{id_}/resume", headers=mine)
    assert resumed.status_code == 202, resumed.text
    assert counts(api, mine, id_) == (3, 1, 2, 0, 0)
    run_to_the_end(api, running, id_)
    assert counts(api, mine, id_) == (3, 0, 3, 0, 0)
    found = results(api, mine, id_)[1]
    assert (found["designation"], found["status"]) == ("title 2", "done")
    run(api, mine, id_)
    run_to_the_end(api, running, id_)
    assert counts(api, mine, id_) == (2, 0, 4, 0, 0)


def test_feeder_that_stops_between_slices_loses_and_doubles_nothing(
    api: Api, mine: Headers, feeder: Feeders
) -> None:
    first = feeder(text_slice=1, text_window=1)
    id_ = finished(api, mine, feeder())
    change(
        api, mine, id_,
        {"row": 2, "cells": {"designation": "title 2"}},
        {"row": 3, "cells": {"designation": "title 3"}},
    )  # fmt: skip
    before = len(texts_sent(api))
    run(api, mine, id_)
    first.step()
    first.close()
    run_to_the_end(api, feeder(), id_)
    assert [one for sent in texts_sent(api)[before:] for one in sent] == ["title 2", "title 3"]
    assert counts(api, mine, id_) == (2, 0, 4, 0, 0)


def test_catalog_of_an_earlier_version_is_repaired(
    api: Api, mine: Headers, feeder: Feeders
) -> None:
    running = feeder()
    id_ = finished(api, mine, running)
    api.services.storage.remove(f"catalogs/{id_}/rejected.jsonl")
    catalog = api.get(Catalog, id_)
    assert catalog is not None
    report = {name: one for name, one in catalog.report.items() if name != "rejected_codes"}
    with api.unit_of_work() as work:
        work.session.execute(update(Catalog).values(report=report))
    found = rows(api, mine, id_)
    assert [one["row"] for one in found["items"]] == [2, 3, 4, 5]
    assert found["reasons"][0] == {"code": "text_too_long", "count": 2}
    change(api, mine, id_, {"row": 2, "cells": {"designation": "title 2"}})
    run(api, mine, id_)
    run_to_the_end(api, running, id_)
    assert counts(api, mine, id_) == (3, 0, 3, 0, 0)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"size": 0}, "has been deleted"),
        ({"dry_run": True}, "A dry run has no rows to repair"),
        ({"status": "validating"}, "still being checked"),
        ({"status": "failed"}, "Send it as a new catalog"),
    ],
)
def test_rows_that_cannot_be_repaired_are_refused(
    api: Api, mine: Headers, feeder: Feeders, changes: dict[str, Any], expected: str
) -> None:
    id_ = finished(api, mine, feeder())
    with api.unit_of_work() as work:
        work.session.execute(update(Catalog).values(**changes))
    body = {"rows": [{"row": 2, "cells": {"designation": "title 2"}}]}
    answer = api.client.patch(f"/v1/catalogs/{id_}/rows", headers=mine, json=body)
    assert answer.status_code == 409
    assert expected in answer.json()["detail"]


def test_run_counts_against_the_limit_of_catalogs(api: Api, mine: Headers, feeder: Feeders) -> None:
    id_ = finished(api, mine, feeder())
    change(api, mine, id_, {"row": 2, "cells": {"designation": "title 2"}})
    for number in range(api.services.catalogs.settings.max_unfinished):
        send(api, mine, TABLE, key=str(number))
    run(api, mine, id_, 429)
    assert show(api, mine, id_)["status"] == "finished"


def test_rows_of_somebody_else_are_not_found(
    api: Api, mine: Headers, admin: Headers, feeder: Feeders
) -> None:
    running = feeder()
    id_ = finished(api, mine, running)
    other = api.sign(api.user())
    address = f"/v1/catalogs/{id_}"
    for method, path in (("GET", "rows"), ("PATCH", "rows"), ("POST", "repair")):
        body: dict[str, Any] | None = {"rows": []} if method == "PATCH" else None
        answer = api.client.request(method, f"{address}/{path}", headers=other, json=body)
        assert answer.status_code == 404, path
    files = [("images", ("a.jpg", b"a"))]
    assert api.client.post(f"{address}/images", headers=other, files=files).status_code == 404
    # An admin may, and the audit log keeps it
    change(api, admin, id_, {"row": 2, "cells": {"designation": "title 2"}})
    run(api, admin, id_)
    with api.unit_of_work.reading() as session:
        entry = session.scalars(
            select(AuditEntry).where(AuditEntry.action == "catalog.repair")
        ).one()
    assert (entry.actor, entry.target, entry.details) == ("root", id_, {"rows": 1})


def test_deleted_account_takes_its_repairs_along(api: Api, admin: Headers, feeder: Feeders) -> None:
    user = api.user(username="ada")
    id_ = finished(api, api.sign(user), feeder())
    change(api, api.sign(user), id_, {"row": 2, "cells": {"designation": "title 2"}})
    assert api.get(CatalogRowRepair, (id_, 2)) is not None
    answer = api.client.delete("/v1/users/ada", headers=admin)
    assert answer.status_code == 204, answer.text
    assert api.get(CatalogRowRepair, (id_, 2)) is None


def test_added_images_count_towards_the_quota_once(
    api: Api, mine: Headers, feeder: Feeders
) -> None:
    running = feeder()
    id_ = finished(api, mine, running)
    catalog = api.get(Catalog, id_)
    assert catalog is not None

    def stored() -> int:
        with api.unit_of_work.reading() as session:
            return stored_bytes(session, catalog.user_id)

    before = stored()
    add_images(api, mine, id_, **{"1_jpg": b"1234567"})
    assert stored() == before + 7
    run(api, mine, id_)
    run_to_the_end(api, running, id_)
    assert stored() == before + 7
