"""Repair a catalog with the command line and the Python client, against a gateway on a port."""

import csv
import io
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rayon import Rayon
from rayon.cli.main import build_app
from shared.db.models import ApiKey, User
from tests.integration.console.conftest import (
    address,
    api,
    broker,
    catalog_settings,
    cheap_hashes,
    hashed,
    migrated,
    rate_settings,
    release_settings,
    settings,
    sign_in_limit_settings,
    unit_of_work,
)
from tests.support.servers import until
from tests.unit.gateway.catalogs.catalog_system import (
    Feeders,
    answer_all,
    send,
    show,
    step_until_checked,
    table,
)
from tests.unit.gateway.conftest import Api, feeder

__all__ = [
    "address",
    "api",
    "broker",
    "catalog_settings",
    "cheap_hashes",
    "feeder",
    "hashed",
    "migrated",
    "rate_settings",
    "release_settings",
    "settings",
    "sign_in_limit_settings",
    "unit_of_work",
]

TABLE = table(
    ("title 1", "", "1.jpg"),
    ("x" * 2_001, "=about 2", "2.jpg"),
    ("", "", "3.jpg"),
    ("title 4", "about 4", "4.jpg", "one more"),
)


@pytest.fixture
def catalog_id(api: Api, feeder: Feeders, owner: User) -> Iterator[str]:
    """Return a finished catalog with three rejected rows, whose feeder keeps running."""
    running, headers = feeder(), api.sign(owner)
    id_ = str(send(api, headers, TABLE)["id"])
    step_until_checked(api, running, id_)
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(0.05):
            running.step()
            answer_all(api, id_)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        until(
            lambda: show(api, headers, id_)["status"] == "finished", 60, "the catalog is finished"
        )
        yield id_
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def owner(api: Api) -> User:
    return api.user()


@pytest.fixture
def key(api: Api, owner: User) -> str:
    body = {"name": "shop", "scopes": ["catalogs:read", "catalogs:write"]}
    answer = api.client.post("/v1/api-keys", headers=api.sign(owner), json=body)
    assert answer.status_code == 201, answer.text
    assert ApiKey.__tablename__
    return str(answer.json()["key"])


def rayon(address: str, key: str, *words: str) -> Result:
    environment = {"RAYON_API_KEY": key}
    command = ["catalog", "--url", address, "--no-bom", *words]
    return CliRunner().invoke(build_app(), command, env=environment)


def corrected(path: Path, titles: dict[str, str], delimiter: str = ",") -> None:
    """Correct a file of errors as a spreadsheet does."""
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, rows[0].keys(), delimiter=delimiter)
        writer.writeheader()
        for row in rows:
            writer.writerow({**row, "designation": titles.get(row["row"], row["designation"])})


def test_corrected_file_of_errors_is_sent_and_run(
    address: str, key: str, catalog_id: str, tmp_path: Path
) -> None:
    errors, out = tmp_path / "errors.csv", tmp_path / "out.csv"
    listed = rayon(address, key, "--resume", catalog_id, "--errors", str(errors))
    assert f"--repair {errors}" in listed.stdout
    corrected(errors, {"2": "title 2", "3": "y" * 2_002, "4": "title four"}, delimiter=";")
    ended = rayon(
        address, key, "--resume", catalog_id, "--repair", str(errors), "--out", str(out)
    )  # fmt: skip
    assert "Changed rows: 3, of which still wrong: 1" in ended.output
    assert "line 4: Expected at most 2000 readable characters" in ended.output
    assert "Rows to classify: 2" in ended.output
    found = list(csv.DictReader(io.StringIO(out.read_text())))
    assert [row["status"] for row in found] == ["done", "done", "rejected", "done"]
    assert [found[1]["designation"], found[3]["designation"]] == ["title 2", "title four"]
    # A cell that was escaped for spreadsheets is unchanged
    with Rayon(address, key) as client:
        rows = client.find_catalog(catalog_id)
        assert rows.counts.rejected == 1
        out_jsonl = rows.results(tmp_path / "out.jsonl").read_text()
    assert '"description": "=about 2"' in out_jsonl


def test_file_of_something_else_is_refused(
    address: str, key: str, catalog_id: str, tmp_path: Path
) -> None:
    other = tmp_path / "products.csv"
    other.write_bytes(TABLE)
    ended = rayon(address, key, "--resume", catalog_id, "--repair", str(other))
    assert ended.exit_code != 0
    assert "Expected a corrected file of --errors" in ended.output


def test_missing_images_are_sent(address: str, key: str, catalog_id: str, tmp_path: Path) -> None:
    for name in ("3.jpg", "9.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    images = [
        word for name in ("3.jpg", "9.jpg") for word in ("--missing-images", str(tmp_path / name))
    ]
    ended = rayon(address, key, "--resume", catalog_id, *images)
    assert "Rows that got their image: 1" in ended.output
    assert "Images that no row without an image names: 9.jpg" in ended.output
    with Rayon(address, key) as client:
        assert client.find_catalog(catalog_id).counts.rejected == 2


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--repair", "{file}", "{file}"], "requires --resume"),
        (["--resume", "x", "--retry", "--repair", "{file}"], "Expected only one of"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    tmp_path: Path, words: list[str], expected: str
) -> None:
    file = tmp_path / "errors.csv"
    file.write_text("row\n")
    ended = rayon("http://127.0.0.1:1", "key", *(word.format(file=file) for word in words))
    assert ended.exit_code == 2
    assert expected in ended.output
