"""Every upload leaves free space on the disks of the storage and of the temporary folder."""

import io
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.web.disk_space import DiskSpace
from shared.db.models import Role
from shared.errors import Unavailable
from shared.settings import StorageSettings
from shared.storage import Storage
from tests.unit.gateway.catalogs.catalog_system import table
from tests.unit.gateway.conftest import Api

GIB = 1024**3
#: Path and form of every upload.
UPLOADS: dict[str, tuple[str, dict[str, Any]]] = {
    "image": ("/v1/jobs", {"files": {"image": ("a.jpg", b"an image")}}),
    "catalog": ("/v1/catalogs", {"files": {"products": ("p.csv", table(["A", "", ""]))}}),
    "labels": ("/v1/catalogs/{catalog}/labels", {"files": {"labels": ("l.csv", b"row")}}),
    "dataset": ("/v1/datasets", {"files": {"products": ("p.csv", b"x")}, "data": {"name": "shop"}}),
    "rows": ("/v1/datasets/shop/rows", {"files": {"products": ("p.csv", b"x")}}),
}


class Disks:
    """Free bytes of the disks of the storage and of the temporary folder."""

    def __init__(self, storage: Path) -> None:
        self.storage, self.root, self.temporary, self.total = 10 * GIB, storage, 10 * GIB, 100 * GIB

    def usage(self, path: object) -> SimpleNamespace:
        is_storage = Path(str(path)).is_relative_to(self.root)
        free = self.storage if is_storage else self.temporary
        return SimpleNamespace(free=free, total=self.total)


@pytest.fixture
def disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disks:
    found = Disks(tmp_path / "files")
    monkeypatch.setattr(shutil, "disk_usage", found.usage)
    return found


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(StorageSettings(url=str(tmp_path / "files"), min_free_bytes=GIB))


@pytest.mark.parametrize("disk", ["storage", "temporary"])
@pytest.mark.parametrize("upload", UPLOADS)
def test_upload_to_an_almost_full_disk_is_503(
    api: Api, disks: Disks, upload: str, disk: str
) -> None:
    operator = api.sign(api.user(Role.OPERATOR))
    catalog = api.client.post("/v1/catalogs", headers=operator, **UPLOADS["catalog"][1]).json()
    path, body = UPLOADS[upload]
    setattr(disks, disk, GIB)
    answer = api.client.post(path.format(catalog=catalog["id"]), headers=operator, **body)
    assert (answer.status_code, answer.headers.get("Retry-After")) == (503, "60"), answer.text
    assert f"Expected {GIB} bytes to stay free" in answer.json()["detail"]
    assert api.services.storage.files("incoming") == []


def test_upload_of_unknown_size_counts_as_the_largest(api: Api, disks: Disks) -> None:
    disks.temporary = GIB + api.services.catalogs.settings.max_bytes - 1
    headers = {**api.sign(api.user()), "Content-Type": "multipart/form-data; boundary=x"}
    answer = api.client.post("/v1/catalogs", headers=headers, content=iter([b"--x--"]))
    assert answer.status_code == 503
    disks.temporary += 1
    answer = api.client.post("/v1/catalogs", headers=headers, content=iter([b"--x--"]))
    assert answer.status_code == 422


def test_upload_counts_twice_on_a_disk_that_holds_both_folders(
    disks: Disks, storage: Storage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    storage.put("images", b"an image")
    disks.storage = disks.temporary = GIB + 199
    with pytest.raises(Unavailable):
        DiskSpace(storage).require(100)
    disks.storage = disks.temporary = GIB + 200
    DiskSpace(storage).require(100)


def test_small_temporary_disk_keeps_a_tenth_free(disks: Disks, storage: Storage) -> None:
    disks.total = disks.temporary = GIB // 4
    DiskSpace(storage).require(disks.total // 2)
    with pytest.raises(Unavailable):
        DiskSpace(storage).require(disks.total - disks.total // 20)


@pytest.mark.parametrize("kind", ["put", "put_at", "put_stream"])
def test_storage_keeps_the_space_free_whoever_writes(
    disks: Disks, storage: Storage, kind: str
) -> None:
    content = b"x" * (3 * 1024 * 1024)
    writes: dict[str, Callable[[], object]] = {
        "put": lambda: storage.put("images", content),
        "put_at": lambda: storage.put_at("a/b", content),
        "put_stream": lambda: storage.put_stream("a/b", io.BytesIO(content)),
    }
    disks.storage = GIB + 1024 * 1024 - 1
    with pytest.raises(Unavailable, match="almost full"):
        writes[kind]()
    assert list(storage.everything()) == storage.files("incoming") == []
    disks.storage = GIB + len(content)
    writes[kind]()
    assert [file.size for file in storage.everything()] == [len(content)]
