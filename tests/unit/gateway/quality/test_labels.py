"""Labels of one job, set and removed, and labels of a catalog's rows from a file."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from fastapi.testclient import TestClient

from gateway.api.catalog_labels import MAX_LABELS_BYTES
from gateway.app import build_app
from gateway.quality.labels import LabelFiles
from shared.db.models import AuditEntry, Catalog, Job, Review, Role, User, row_job_id
from tests.support.factories import make_job
from tests.unit.gateway.catalogs.catalog_system import Feeders, send, step_until_checked, table
from tests.unit.gateway.conftest import Api

HEADER = "designation,productid,imageid"


@pytest.fixture
def ada(api: Api) -> User:
    return api.user(username="ada")


@pytest.fixture
def hers(api: Api, ada: User) -> dict[str, str]:
    return api.sign(ada)


@pytest.fixture
def catalog(api: Api, hers: dict[str, str], feeder: Feeders) -> str:
    """Create a catalog of four jobs; two of its products have the same ID."""
    rows = (["Piscine", "71", "1"], ["Livre", "72", "2"], ["Console", "73", "3"])
    products = table(*rows, ["Console bleue", "73", "4"], header=HEADER)
    catalog_id: str = send(api, hers, products)["id"]
    running = feeder()
    step_until_checked(api, running, catalog_id)
    running.step()
    assert labels(api, catalog_id) == [None] * 4
    return catalog_id


def labels(api: Api, catalog_id: str) -> list[int | None]:
    """Return the labels of the catalog's rows."""
    jobs = [api.get(Job, row_job_id(catalog_id, row)) for row in range(1, 5)]
    return [job.label for job in jobs if job is not None]


def label(
    api: Api, headers: dict[str, str], catalog_id: str, content: str, status: int = 200
) -> dict[str, Any]:
    """Upload a label file, and check the status of the response."""
    answer = api.client.post(
        f"/v1/catalogs/{catalog_id}/labels",
        headers=headers,
        files={"labels": ("labels.csv", content.encode())},
    )
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


# One job


def test_wrong_label_is_removed(api: Api, ada: User, hers: dict[str, str]) -> None:
    job = make_job(ada)
    api.add(job)
    path = f"/v1/jobs/{job.id}/label"
    assert api.client.put(path, headers=hers, json={"prdtypecode": 10}).json()["label"] == 10
    assert api.client.put(path, headers=hers, json={"prdtypecode": None}).json()["label"] is None
    kept = api.get(Job, job.id)
    assert kept is not None
    assert (kept.label, kept.labelled_at) == (None, None)
    assert (kept.labelled_by, kept.labelled_by_id) == (None, None)


def test_label_may_be_the_name_of_a_category(api: Api, ada: User, hers: dict[str, str]) -> None:
    job = make_job(ada)
    api.add(job)
    path = f"/v1/jobs/{job.id}/label"
    for body, code in (
        ({"category": "piscine et  ACCESSOIRES"}, 2583),
        ({"category": "Livres", "prdtypecode": 10}, 10),
        ({"category": "10"}, 10),
    ):
        answer = api.client.put(path, headers=hers, json=body)
        assert (answer.status_code, answer.json().get("label")) == (200, code), answer.text


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"category": "Chaussures"}, "category"),
        ({"category": "Livres", "prdtypecode": 2583}, "category"),
        ({"category": None}, ""),
        ({}, ""),
    ],
)
def test_label_that_names_no_category_is_422(
    api: Api, ada: User, hers: dict[str, str], body: dict[str, Any], field: str
) -> None:
    job = make_job(ada)
    api.add(job)
    answer = api.client.put(f"/v1/jobs/{job.id}/label", headers=hers, json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].endswith(field)
    kept = api.get(Job, job.id)
    assert kept is not None
    assert kept.label is None


@pytest.mark.parametrize(
    ("role", "body", "status"),
    [
        (Role.ADMIN, {"prdtypecode": 9_999, "new_category": True}, 200),
        (Role.OPERATOR, {"prdtypecode": 9_999, "new_category": True}, 200),
        # The category may have been learnt since the reviewer looked.
        (Role.OPERATOR, {"prdtypecode": 10, "new_category": True}, 200),
        (Role.CLIENT, {"prdtypecode": 9_999, "new_category": True}, 403),
        (Role.ADMIN, {"prdtypecode": 9_999}, 422),
        (Role.ADMIN, {"prdtypecode": -1, "new_category": True}, 422),
        (Role.ADMIN, {"prdtypecode": 2**31, "new_category": True}, 422),
        (Role.ADMIN, {"category": "Drones", "new_category": True}, 422),
    ],
)
def test_reviewers_label_with_a_category_that_the_release_does_not_have_yet(
    api: Api, role: Role, body: dict[str, Any], status: int
) -> None:
    author = api.user(role, username="otto")
    job = make_job(author, status="done")
    api.add(job)
    answer = api.client.put(f"/v1/jobs/{job.id}/label", headers=api.sign(author), json=body)
    assert answer.status_code == status, answer.text
    kept = api.get(Job, job.id)
    assert kept is not None
    assert kept.label == (body["prdtypecode"] if status == 200 else None)


@pytest.mark.parametrize(
    ("role", "is_chosen", "status"),
    [
        (Role.OPERATOR, True, 200),
        (Role.OPERATOR, False, 404),
        (Role.CLIENT, True, 404),
        (Role.ADMIN, False, 200),
    ],
)
def test_operator_labels_only_jobs_chosen_for_review(
    api: Api, ada: User, role: Role, is_chosen: bool, status: int
) -> None:
    job = make_job(ada, status="done")
    api.add(job)
    if is_chosen:
        api.add(Review(job_id=job.id, reason="random", chance=0.1, random_chance=0.1))
    other = api.user(role, username="otto")
    answer = api.client.put(
        f"/v1/jobs/{job.id}/label", headers=api.sign(other), json={"prdtypecode": 10}
    )
    assert answer.status_code == status
    kept, entry = api.get(Job, job.id), api.get(AuditEntry, 1)
    assert kept is not None
    assert kept.labelled_by == ("otto" if status == 200 else None)
    assert (entry is not None) == (status == 200)
    if entry is not None:
        assert (entry.action, entry.target, entry.actor) == ("job.label", job.id, "otto")


@pytest.fixture
def reviewed(api: Api, ada: User) -> Job:
    """Create a job of the client that an operator has reviewed and labelled 10."""
    job = make_job(ada, status="done")
    api.add(job)
    api.add(Review(job_id=job.id, reason="random", chance=0.1, random_chance=0.1))
    olga = api.sign(api.user(Role.OPERATOR, username="olga"))
    assert label_job(api, olga, job, 10) == 200
    return job


def label_job(api: Api, headers: dict[str, str], job: Job, code: int | None) -> int:
    """Label a job and return the status of the response."""
    path = f"/v1/jobs/{job.id}/label"
    return api.client.put(path, headers=headers, json={"prdtypecode": code}).status_code


@pytest.mark.parametrize(("code", "status"), [(2583, 409), (None, 409), (10, 200)])
def test_client_cannot_change_the_label_of_a_reviewer(
    api: Api, hers: dict[str, str], reviewed: Job, code: int | None, status: int
) -> None:
    assert label_job(api, hers, reviewed, code) == status
    kept = api.get(Job, reviewed.id)
    assert kept is not None
    assert (kept.label, kept.labelled_by) == (10, "olga")


def test_client_whom_an_admin_trusts_changes_the_label_of_a_reviewer(
    api: Api, hers: dict[str, str], admin: dict[str, str], reviewed: Job
) -> None:
    api.client.patch("/v1/users/ada", headers=admin, json={"labels_trusted": True})
    assert label_job(api, hers, reviewed, 2583) == 200


def test_label_that_a_reviewer_confirms_becomes_the_reviewers(
    api: Api, ada: User, hers: dict[str, str]
) -> None:
    job = make_job(ada, status="done")
    api.add(job)
    assert label_job(api, hers, job, 10) == 200
    api.add(Review(job_id=job.id, reason="random", chance=0.1, random_chance=0.1))
    olga = api.user(Role.OPERATOR, username="olga")
    assert label_job(api, api.sign(olga), job, 10) == 200
    kept = api.get(Job, job.id)
    assert kept is not None
    assert (kept.labelled_by, kept.labelled_by_id) == ("olga", olga.id)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/datasets",
        "/v1/datasets/shop/rows",
        "/v1/training-runs",
        "/v1/drift-alerts",
        "/v1/drift-alerts/x/train",
        "/v1/reports",
    ],
)
def test_client_cannot_train_by_another_way(api: Api, hers: dict[str, str], path: str) -> None:
    assert api.client.post(path, headers=hers).status_code == 403


# A file


@pytest.mark.parametrize(
    "content",
    [
        "row,prdtypecode\n1,2583\n2,10\n",
        "productid;PRDTYPECODE\n71;2583\n72;10\n",
        "\ufeffrow\tnote\tprdtypecode\n2\tx\t10\n1\ty\t2583\n",
        '{"row": 1, "prdtypecode": 2583}\n{"prdtypecode": "10", "row": "2"}\n',
    ],
)
def test_rows_are_labelled_by_number_or_product(
    api: Api, hers: dict[str, str], catalog: str, content: str
) -> None:
    report = label(api, hers, catalog, content)
    counts = {"rows": 2, "taken": 2, "skipped": 0, "rejected": 0}
    assert report == {**counts, "problems": [], "new_categories": []}
    assert labels(api, catalog) == [2583, 10, None, None]
    job = api.get(Job, row_job_id(catalog, 1))
    assert job is not None
    assert (job.labelled_by, job.labelled_at is not None) == ("ada", True)
    assert label(api, hers, catalog, content) == report


def test_label_file_cannot_change_the_labels_of_a_reviewer(
    api: Api, hers: dict[str, str], catalog: str
) -> None:
    root = api.sign(api.user(Role.ADMIN, username="rita"))
    assert label(api, root, catalog, "row,prdtypecode\n1,10\n2,10\n")["taken"] == 2
    report = label(api, hers, catalog, "row,prdtypecode\n1,2583\n2,10\n3,10\n")
    assert (report["taken"], report["rejected"]) == (2, 1)
    assert report["problems"][0]["reason"].startswith("A reviewer has set another label")
    assert labels(api, catalog) == [10, 10, 10, None]
    job = api.get(Job, row_job_id(catalog, 2))
    assert job is not None
    assert job.labelled_by == "rita"


def test_equal_label_keeps_its_time(api: Api, hers: dict[str, str], catalog: str) -> None:
    def at(row: int) -> object:
        job = api.get(Job, row_job_id(catalog, row))
        assert job is not None
        return job.labelled_at

    label(api, hers, catalog, "row,prdtypecode\n1,2583\n2,10\n")
    before = at(1), at(2)
    path = f"/v1/jobs/{row_job_id(catalog, 2)}/label"
    api.client.put(path, headers=hers, json={"prdtypecode": 10})
    assert label(api, hers, catalog, "row,prdtypecode\n1,10\n2,10\n")["taken"] == 2
    assert at(1) != before[0]
    assert at(2) == before[1]
    assert labels(api, catalog)[:2] == [10, 10]


def test_rows_are_labelled_by_job(api: Api, hers: dict[str, str], catalog: str) -> None:
    # `job_id` takes precedence: the row number differs in a file that was sorted.
    content = f"row,job_id,prdtypecode\n9,{row_job_id(catalog, 3)},10\n"
    assert label(api, hers, catalog, content)["taken"] == 1
    assert labels(api, catalog) == [None, None, 10, None]


def test_valid_labels_are_saved_and_the_others_reported(
    api: Api, hers: dict[str, str], catalog: str
) -> None:
    report = label(
        api,
        hers,
        catalog,
        "row,prdtypecode\n1,2583\n2,\n3,11\n4,books\n9,10\nx,10\n1,10\n0,10\n4,10,10\n4,10\n",
    )
    counts = {name: report[name] for name in ("rows", "taken", "skipped", "rejected")}
    assert counts == {"rows": 10, "taken": 2, "skipped": 1, "rejected": 7}
    assert labels(api, catalog) == [2583, None, None, 10]
    found = {
        (problem["row"], problem["line"], problem["column"], problem["value"])
        for problem in report["problems"]
    }
    assert found == {
        (3, 4, "prdtypecode", "11"),
        (4, 5, "prdtypecode", "books"),
        (5, 6, "row", "9"),
        (6, 7, "row", "x"),
        (7, 8, "prdtypecode", "10"),
        (8, 9, "row", "0"),
        (9, 10, None, "4,10,10"),
    }
    reasons = {problem["row"]: problem["reason"] for problem in report["problems"]}
    assert reasons[7] == "Expected one label for row 1. Received: 2583 before"
    assert reasons[5] == "Expected a row of the catalog with a job. Received: row 9"
    assert reasons[9] == "Expected 2 cells. Received: 3"


def test_label_file_may_name_the_categories(api: Api, hers: dict[str, str], catalog: str) -> None:
    content = "ligne;catégorie\n1;livres\n2;Piscine et accessoires\n3;Jeux\n4;10\n"
    report = label(api, hers, catalog, content)
    assert labels(api, catalog) == [10, 2583, None, 10]
    [problem] = report["problems"]
    assert (problem["row"], problem["column"], problem["value"]) == (3, "category", "Jeux")
    content = "row,prdtypecode,category\n1,2583,Livres\n3,,Livres\n"
    assert label(api, hers, catalog, content)["taken"] == 2
    assert labels(api, catalog) == [2583, 2583, 10, 10]


def test_products_are_found_despite_repeated_columns(
    api: Api, hers: dict[str, str], feeder: Feeders
) -> None:
    rows = (["A", "two\nlines", "71", "", ""], ["B", "", "72", "", ""], ["C", "", "73", "", ""])
    catalog_id = send(api, hers, table(*rows, header="designation,description,productid,x,x"))["id"]
    running = feeder()
    step_until_checked(api, running, catalog_id)
    running.step()
    report = label(api, hers, catalog_id, "productid,prdtypecode\n71,10\n73,2583\n")
    assert (report["taken"], report["problems"]) == (2, [])
    assert labels(api, catalog_id) == [10, None, 2583]


def test_rows_beyond_the_catalog_are_not_held_in_memory(
    api: Api, hers: dict[str, str], catalog: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[int] = []
    original = LabelFiles._keep

    def counting(files: LabelFiles, catalog: Catalog, batch: Any, *rest: Any) -> None:
        kept.extend(number for _, number, _ in batch)
        original(files, catalog, batch, *rest)

    monkeypatch.setattr(LabelFiles, "_keep", counting)
    for key, name in (("row", str), ("job_id", partial(row_job_id, catalog))):
        rows = "".join(f"{name(number)},10\n" for number in (5, 9, 2**31, 4))
        report = label(api, hers, catalog, f"{key},prdtypecode\n{rows}")
        assert (report["taken"], report["rejected"]) == (1, 3)
        assert "Received: row 9" in report["problems"][1]["reason"]
    assert kept == [4, 4]


def test_long_cells_are_not_product_ids(api: Api, hers: dict[str, str], feeder: Feeders) -> None:
    rows = table(["A", "1" * 255, "1"], ["B", "2" * 256, "2"], header=HEADER)
    catalog_id = send(api, hers, rows)["id"]
    running = feeder()
    step_until_checked(api, running, catalog_id)
    running.step()
    content = f"productid,prdtypecode\n{'1' * 255},10\n{'2' * 256},10\n"
    report = label(api, hers, catalog_id, content)
    assert (report["taken"], report["rejected"]) == (1, 1)


def test_label_file_has_a_smaller_size_limit_than_a_catalog(
    api: Api, hers: dict[str, str], catalog: str
) -> None:
    settings = api.services.catalogs.settings.model_copy(update={"max_bytes": 8 * 1024**3})
    catalogs = replace(api.services.catalogs, settings=settings)
    client = TestClient(build_app(replace(api.services, catalogs=catalogs)))
    size = {"Content-Length": str(MAX_LABELS_BYTES + 1024**2)}
    path = f"/v1/catalogs/{catalog}/labels"
    answer = client.post(path, headers={**hers, **size}, content=b"x")
    assert answer.status_code == 413
    assert client.post("/v1/catalogs", headers={**hers, **size}, content=b"x").status_code != 413


def test_product_of_two_rows_is_rejected(api: Api, hers: dict[str, str], catalog: str) -> None:
    report = label(api, hers, catalog, "productid,prdtypecode\n73,10\n99,10\n71,10\n")
    assert (report["taken"], report["rejected"]) == (1, 2)
    reasons = [problem["reason"] for problem in report["problems"]]
    assert "2 rows with '73'" in reasons[0]
    assert "no row with '99'" in reasons[1]


def test_job_of_another_catalog_is_rejected(api: Api, hers: dict[str, str], catalog: str) -> None:
    other = row_job_id(catalog.replace(catalog[:4], "0000"), 1)
    report = label(api, hers, catalog, f"job_id,prdtypecode\n{other},10\nnonsense,10\n")
    assert (report["taken"], report["rejected"]) == (0, 2)


@pytest.mark.parametrize(
    "content", ["", "row,price\n1,10\n", "prdtypecode\n10\n", "row,row,prdtypecode\n1,1,10\n"]
)
def test_file_without_the_columns_is_422(
    api: Api, hers: dict[str, str], catalog: str, content: str
) -> None:
    error = label(api, hers, catalog, content, 422)
    assert error["errors"][0]["field"].startswith("labels")


def test_request_without_a_file_is_422(api: Api, hers: dict[str, str], catalog: str) -> None:
    answer = api.client.post(f"/v1/catalogs/{catalog}/labels", headers=hers)
    assert answer.status_code == 422


def test_catalog_without_answers_conflicts(api: Api, hers: dict[str, str]) -> None:
    catalog_id = send(api, hers, table(["A", "1", "1"], header=HEADER), dry_run="true")["id"]
    label(api, hers, catalog_id, "row,prdtypecode\n1,10\n", 409)
    checking = send(api, hers, table(["B", "1", "1"], header=HEADER))["id"]
    label(api, hers, checking, "row,prdtypecode\n1,10\n", 409)


def test_rows_need_their_number_once_the_file_is_deleted(
    api: Api, hers: dict[str, str], catalog: str
) -> None:
    api.services.storage.remove(f"catalogs/{catalog}/products")
    error = label(api, hers, catalog, "productid,prdtypecode\n71,10\n", 409)
    assert "`row`" in error["detail"]
    assert label(api, hers, catalog, "row,prdtypecode\n1,10\n")["taken"] == 1


@pytest.mark.parametrize(
    ("role", "fields", "taken"),
    [
        (Role.OPERATOR, {"new_categories": "true"}, 1),
        (Role.OPERATOR, {}, 0),
        (Role.CLIENT, {"new_categories": "true"}, None),
    ],
)
def test_file_of_a_reviewer_may_have_categories_that_the_release_does_not_have_yet(
    api: Api, feeder: Feeders, role: Role, fields: dict[str, str], taken: int | None
) -> None:
    headers = api.sign(api.user(role, username="otto"))
    catalog_id = send(api, headers, table(["Drone", "71", "1"], header=HEADER))["id"]
    running = feeder()
    step_until_checked(api, running, catalog_id)
    running.step()
    answer = api.client.post(
        f"/v1/catalogs/{catalog_id}/labels",
        headers=headers,
        data=fields,
        files={"labels": ("labels.csv", b"row,prdtypecode\n1,9999\n")},
    )
    if taken is None:
        assert answer.status_code == 403
        return
    assert answer.status_code == 200, answer.text
    assert answer.json()["taken"] == taken
    job = api.get(Job, row_job_id(catalog_id, 1))
    assert job is not None
    assert job.label == (9999 if taken else None)


@pytest.mark.parametrize("cell", ["Drones", "-1", "2147483648", "9" * 30])
def test_new_category_of_a_file_is_a_code(api: Api, feeder: Feeders, cell: str) -> None:
    headers = api.sign(api.user(Role.OPERATOR, username="otto"))
    catalog_id = send(api, headers, table(["Drone", "71", "1"], header=HEADER))["id"]
    running = feeder()
    step_until_checked(api, running, catalog_id)
    running.step()
    answer = api.client.post(
        f"/v1/catalogs/{catalog_id}/labels",
        headers=headers,
        data={"new_categories": "true"},
        files={"labels": ("labels.csv", f"row,category\n1,{cell}\n".encode())},
    )
    assert (answer.status_code, answer.json()["rejected"]) == (200, 1)


def test_report_counts_the_new_categories_of_a_file_rarest_first(api: Api, feeder: Feeders) -> None:
    headers = api.sign(api.user(Role.OPERATOR, username="otto"))
    rows = [[f"Drone {number}", str(number), "1"] for number in range(4)]
    catalog_id = send(api, headers, table(*rows, header=HEADER))["id"]
    running = feeder()
    step_until_checked(api, running, catalog_id)
    running.step()
    answer = api.client.post(
        f"/v1/catalogs/{catalog_id}/labels",
        headers=headers,
        data={"new_categories": "true"},
        files={"labels": ("labels.csv", b"row,prdtypecode\n1,9999\n2,9999\n3,999\n4,10\n")},
    )
    found = [{"prdtypecode": 999, "rows": 1}, {"prdtypecode": 9999, "rows": 2}]
    assert (answer.json()["taken"], answer.json()["new_categories"]) == (4, found)
