import asyncio
import gc
import gzip
import io
from pathlib import Path
from typing import Any, cast

import pytest
import xlsxwriter
from fastapi import FastAPI, Request

from shared.contracts import DatasetUploaded
from shared.db.models import DatasetStatus, DatasetVersion, Role, TrainingRun, User, new_id
from shared.errors import Unavailable
from shared.storage import Storage
from tests.unit.gateway.conftest import Api

PRODUCTS = b"id,designation,prdtypecode\na,stylo,10\nb,livre,20\n"


@pytest.fixture
def operator(api: Api) -> dict[str, str]:
    return api.sign(api.user(Role.OPERATOR, username="olga"))


def send(api: Api, headers: dict[str, str], name: str = "shop", **files: bytes):  # type: ignore[no-untyped-def]
    sent = {kind: (f"{kind}.bin", content) for kind, content in files.items()}
    return api.client.post("/v1/datasets", headers=headers, data={"name": name}, files=sent)


def table(size: int) -> bytes:
    return PRODUCTS + b"\n" * (size - len(PRODUCTS))


def versions(api: Api) -> list[DatasetVersion]:
    with api.unit_of_work.reading() as session:
        return session.query(DatasetVersion).order_by(DatasetVersion.version).all()


def finish(api: Api, status: DatasetStatus = DatasetStatus.READY) -> None:
    with api.unit_of_work() as work:
        for version in work.session.query(DatasetVersion).all():
            if version.status == DatasetStatus.CHECKING.value:
                version.status, version.rows, version.fingerprint = status.value, 2, "f" * 64
                version.report = {"rows": 2, "findings": []}


def stored(tmp_path: Path) -> dict[str, bytes]:
    root = tmp_path / "files"
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def test_upload_is_stored_and_published_to_the_trainer(
    api: Api, operator: dict[str, str], tmp_path: Path
) -> None:
    answer = send(api, operator, products=PRODUCTS, images=b"PK")
    assert answer.status_code == 202
    assert answer.headers["Location"] == "/v1/datasets/shop"
    (version,) = versions(api)
    shown = answer.json()["versions"][0]
    assert (shown["version"], shown["status"], shown["created_by"]) == (1, "checking", "olga")
    assert shown["asked"]["files"] == ["images", "products"]
    folder = f"uploads/{version.id}"
    assert stored(tmp_path) == {f"{folder}/products.csv": PRODUCTS, f"{folder}/images.zip": b"PK"}
    (message,) = api.broker.messages
    assert isinstance(message, DatasetUploaded)
    assert message.version_id == version.id


def test_upload_is_accepted_while_the_queue_is_down(api: Api, operator: dict[str, str]) -> None:
    api.broker.is_down = True
    assert send(api, operator, products=PRODUCTS).status_code == 202
    assert versions(api)[0].status == "checking"


def test_datasets_are_shown_with_status_and_report(api: Api, operator: dict[str, str]) -> None:
    send(api, operator, "b-shop", products=PRODUCTS)
    send(api, operator, "a-shop", products=PRODUCTS)
    finish(api)
    items = api.client.get("/v1/datasets", headers=operator).json()["items"]
    assert [item["name"] for item in items] == ["a-shop", "b-shop"]
    first = items[0]["versions"][0]
    assert (first["status"], first["rows"], first["fingerprint"]) == ("ready", 2, "f" * 64)
    assert "report" not in first
    shown = api.client.get("/v1/datasets/a-shop", headers=operator).json()
    assert shown["versions"][0]["report"] == {"rows": 2, "findings": []}
    assert api.client.get("/v1/datasets/nobody", headers=operator).status_code == 404


def test_clients_have_no_access_to_datasets(api: Api, mine: dict[str, str]) -> None:
    assert send(api, mine, products=PRODUCTS).status_code == 403
    assert api.client.get("/v1/datasets", headers=mine).status_code == 403
    assert api.client.delete("/v1/datasets/shop", headers=mine).status_code == 403
    assert api.client.post("/v1/datasets", data={"name": "shop"}).status_code == 401
    assert versions(api) == []


def test_body_of_an_unauthenticated_request_is_not_read(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def form(*_: object, **__: object) -> None:
        pytest.fail("the body was read")

    monkeypatch.setattr(Request, "_get_form", form)
    answer = api.client.post("/v1/datasets", data={"name": "x"}, files={"products": PRODUCTS})
    assert answer.status_code == 401


@pytest.mark.parametrize("name", ["", "Shop", "a b", "shop@2", "../x", "a/b", "pictures", "x" * 65])
def test_name_that_is_no_valid_folder_is_422(
    api: Api, operator: dict[str, str], name: str, tmp_path: Path
) -> None:
    answer = send(api, operator, name, products=PRODUCTS)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "name"
    assert stored(tmp_path) == {}


def test_missing_products_are_422(api: Api, operator: dict[str, str]) -> None:
    answer = send(api, operator, images=b"PK")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "products")


def test_datasets_have_a_larger_size_limit_than_other_bodies(
    api: Api, operator: dict[str, str]
) -> None:
    assert send(api, operator, products=table(60_000)).status_code == 202
    assert send(api, operator, "other", products=table(90_000)).status_code == 413
    job = api.client.post("/v1/jobs", headers=operator, files={"image": b"x" * 60_000})
    assert job.status_code == 413


def test_taken_name_is_409(api: Api, operator: dict[str, str], tmp_path: Path) -> None:
    send(api, operator, products=PRODUCTS)
    assert send(api, operator, products=PRODUCTS).status_code == 409
    finish(api)
    before = stored(tmp_path)
    answer = send(api, operator, products=PRODUCTS)
    assert (answer.status_code, "/rows" in answer.json()["detail"]) == (409, True)
    assert stored(tmp_path) == before


def test_failed_dataset_can_be_uploaded_again(api: Api, operator: dict[str, str]) -> None:
    send(api, operator, products=PRODUCTS)
    finish(api, DatasetStatus.FAILED)
    answer = send(api, operator, products=PRODUCTS)
    assert (answer.status_code, answer.json()["versions"][0]["version"]) == (202, 2)


def test_rows_create_a_version_from_the_latest_ready_one(
    api: Api, operator: dict[str, str]
) -> None:
    send(api, operator, products=PRODUCTS)
    finish(api)
    answer = api.client.post(
        "/v1/datasets/shop/rows",
        headers=operator,
        data={"remove": ["a", "b"], "labels": "corrected"},
        files={"products": PRODUCTS},
    )
    assert answer.status_code == 202
    assert answer.json()["versions"][0]["asked"] == {
        "base": 1,
        "files": ["products"],
        "remove": ["a", "b"],
        "corrected": True,
    }
    finish(api, DatasetStatus.FAILED)
    api.client.post("/v1/datasets/shop/rows", headers=operator, data={"labels": "corrected"})
    assert [(one.version, one.asked["base"]) for one in versions(api)] == [
        (1, None),
        (2, 1),
        (3, 1),
    ]


def test_rows_need_a_ready_version_and_a_change(api: Api, operator: dict[str, str]) -> None:
    def change(name: str, **data: str) -> int:
        url = f"/v1/datasets/{name}/rows"
        return api.client.post(url, headers=operator, data=data).status_code

    assert change("nobody", remove="a") == 404
    send(api, operator, products=PRODUCTS)
    assert change("shop", remove="a") == 409
    finish(api, DatasetStatus.FAILED)
    assert change("shop", remove="a") == 409
    send(api, operator, products=PRODUCTS)
    finish(api)
    assert change("shop", labels="wrong") == 422
    assert change("shop", other="x") == 422
    assert change("shop", remove="a") == 202


def test_delete_removes_rows_and_files(api: Api, operator: dict[str, str], tmp_path: Path) -> None:
    send(api, operator, products=PRODUCTS)
    assert api.client.delete("/v1/datasets/shop", headers=operator).status_code == 409
    finish(api)
    storage = api.services.datasets.storage
    storage.put_at("datasets/shop/1/products.parquet", b"rows")
    storage.put_at("datasets/shop-2/1/products.parquet", b"rows")
    assert api.client.delete("/v1/datasets/shop", headers=operator).status_code == 204
    assert versions(api) == []
    assert "datasets/shop/1/products.parquet" not in stored(tmp_path)
    assert "datasets/shop-2/1/products.parquet" in stored(tmp_path)
    assert api.client.delete("/v1/datasets/shop", headers=operator).status_code == 404


def test_dataset_in_training_cannot_be_deleted(api: Api, operator: dict[str, str]) -> None:
    send(api, operator, products=PRODUCTS)
    finish(api)
    run = TrainingRun(id=new_id(), requested_by="olga", reason="test", dataset="shop@1")
    other = TrainingRun(id=new_id(), requested_by="olga", reason="test", dataset="shop-2@1")
    api.add(run, other)
    assert api.client.delete("/v1/datasets/shop", headers=operator).status_code == 409
    with api.unit_of_work() as work:
        work.session.get_one(TrainingRun, run.id).status = "finished"
    assert api.client.delete("/v1/datasets/shop", headers=operator).status_code == 204


def test_interrupted_deletion_is_continued(
    api: Api, operator: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    send(api, operator, products=PRODUCTS)
    finish(api)

    def down(*_: object) -> None:
        raise Unavailable("The storage does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "remove_folder", down)
        assert api.client.delete("/v1/datasets/shop", headers=operator).status_code == 503
    assert versions(api)[0].status == "deleting"
    assert send(api, operator, products=PRODUCTS).status_code == 409
    assert api.client.delete("/v1/datasets/shop", headers=operator).status_code == 204


def test_failed_upload_leaves_no_files(
    api: Api, operator: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Storage.put_stream

    def full(storage: Storage, uri: str, stream: object) -> int:
        if uri.endswith("images.zip"):
            raise Unavailable("The storage is full")
        return whole(storage, uri, stream)  # type: ignore[arg-type]

    monkeypatch.setattr(Storage, "put_stream", full)
    answer = send(api, operator, products=PRODUCTS, images=b"PK")
    assert (answer.status_code, answer.json()["detail"]) == (503, "The storage is full")
    assert versions(api) == []
    assert stored(tmp_path) == {}


# The interpreter closes the partial file, which raises a warning.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_interrupted_upload_leaves_no_files(
    api: Api, operator: dict[str, str], tmp_path: Path
) -> None:
    half = b'--b\r\nContent-Disposition: form-data; name="products"; filename="x"\r\n\r\nid,desi'
    messages = [
        {"type": "http.request", "body": half, "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send_back(message: Any) -> None:
        sent.append(message)

    headers = {**operator, "Content-Type": "multipart/form-data; boundary=b"}
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/v1/datasets",
        "query_string": b"",
        "headers": [(key.lower().encode(), one.encode()) for key, one in headers.items()],
    }
    asyncio.run(cast(FastAPI, api.client.app)(scope, receive, send_back))
    gc.collect()
    assert sent[0]["status"] == 422
    assert b"broke off" in sent[1]["body"]
    assert versions(api) == []
    assert stored(tmp_path) == {}


def test_training_run_stores_the_version_of_its_dataset(api: Api, operator: dict[str, str]) -> None:
    def train(dataset: str):  # type: ignore[no-untyped-def]
        wanted = {"reason": "test", "dataset": dataset}
        return api.client.post("/v1/training-runs", headers=operator, json=wanted)

    send(api, operator, products=PRODUCTS)
    assert train("shop").status_code == 422
    finish(api)
    api.client.post("/v1/datasets/shop/rows", headers=operator, data={"remove": "a"})
    assert train("shop").json()["dataset"] == "shop@1"
    assert train("shop@2").status_code == 422
    finish(api)
    assert train("shop").json()["dataset"] == "shop@2"
    assert train("shop@1").json()["dataset"] == "shop@1"


@pytest.mark.parametrize(("labels_trusted", "status"), [(True, 202), (False, 409)])
def test_version_with_labels_of_untrusted_users_does_not_train(
    api: Api, operator: dict[str, str], labels_trusted: bool, status: int
) -> None:
    eve = api.user(username="eve")
    with api.unit_of_work() as work:
        work.session.get_one(User, eve.id).labels_trusted = labels_trusted
    send(api, operator, products=PRODUCTS)
    finish(api)
    with api.unit_of_work() as work:
        shares = [{"user": "eve", "user_id": eve.id, "rows": 5, "share": 0.1}]
        work.session.query(DatasetVersion).one().report = {"labels": shares}
    wanted = {"reason": "test", "dataset": "shop"}
    answer = api.client.post("/v1/training-runs", headers=operator, json=wanted)
    assert answer.status_code == status
    if status == 409:
        assert answer.json()["detail"].startswith("shop@1 contains labels of users who are not tr")


def test_training_run_shows_the_labels_of_each_user(api: Api) -> None:
    labels = [{"user": "olga", "user_id": "1", "rows": 12, "share": 0.1}]
    run = TrainingRun(requested_by="olga", reason="x", labels=labels)
    api.add(run)
    olga = api.sign(api.user(Role.OPERATOR, username="olga"))
    shown = api.client.get(f"/v1/training-runs/{run.id}", headers=olga).json()
    assert shown["labels"] == [{"user": "olga", "rows": 12, "share": 0.1}]


@pytest.mark.parametrize(
    ("kind", "content", "received"),
    [
        ("products", b"titles;code\na;1\n", "titles, code. Did you mean 'titles' as `title`?"),
        ("products", b"", "an empty file"),
        ("products", b"%PDF-1.7", "a PDF document"),
        ("labels", b"place,prdtypcode\na,1\n", "Did you mean 'prdtypcode' as `prdtypecode`?"),
        ("categories", b"name\nLivres\n", "Expected a column `prdtypecode`"),
    ],
)
def test_file_in_which_nothing_fits_is_refused_before_it_is_stored(
    api: Api, operator: dict[str, str], tmp_path: Path, kind: str, content: bytes, received: str
) -> None:
    files: dict[str, Any] = {"products": PRODUCTS, kind: content}
    answer = send(api, operator, **files)
    assert answer.status_code == 422
    (fault,) = answer.json()["errors"]
    assert fault["field"] == kind
    assert received in answer.json()["detail"]
    assert stored(tmp_path) == {}
    assert versions(api) == []


@pytest.mark.parametrize("content", [gzip.compress(PRODUCTS), PRODUCTS.decode().encode("utf-16")])
def test_packed_table_is_stored_as_it_was_sent(
    api: Api, operator: dict[str, str], tmp_path: Path, content: bytes
) -> None:
    assert send(api, operator, products=content).status_code == 202
    assert [*stored(tmp_path).values()] == [content]


def test_products_without_labels_are_refused_at_once(
    api: Api, operator: dict[str, str], tmp_path: Path
) -> None:
    products = "titre;Catgorie\nbottes;Chaussures\n".encode("cp1252")
    answer = send(api, operator, products=products)
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["field"] == "products"
    assert "`prdtypecode` or `category`, or the file `labels`" in error["message"]
    assert "Did you mean 'Catgorie'" in error["message"]
    assert stored(tmp_path) == {}
    labels = b"label\nChaussures\n"
    assert send(api, operator, products=products, labels=labels).status_code == 202


def test_products_with_text_labels_are_accepted_as_a_workbook(
    api: Api, operator: dict[str, str]
) -> None:
    content = io.BytesIO()
    with xlsxwriter.Workbook(content) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ("Nom", "Rayon"))
        sheet.write_row(1, 0, ("bottes", "Mode > Chaussures"))
    assert send(api, operator, products=content.getvalue()).status_code == 202
