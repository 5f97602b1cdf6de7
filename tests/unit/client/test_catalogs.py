"""Catalogs: idempotent uploads, waiting and atomic downloads."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest
from starlette.responses import Response

from gateway.web.error_handlers import problem
from rayon import Catalog, Progress, Rayon, Refused, Unreachable
from rayon.uploads import SentCatalogs
from tests.unit.client.service import KEY, FakeService, cut_short

UPLOAD = ("POST", "/v1/catalogs")


@dataclass(frozen=True)
class Files:
    """Create a products file and a ZIP of images."""

    products: Path
    images: Path


@pytest.fixture
def files(tmp_path: Path) -> Files:
    found = Files(tmp_path / "products.csv", tmp_path / "images.zip")
    found.products.write_text("designation,image\nPiscine,a.jpg\n")
    found.images.write_bytes(b"PK" * 200_000)
    return found


@pytest.fixture
def sending(service: FakeService) -> Iterator[Rayon]:
    """Return a client that records its uploads, like the command line."""
    with Rayon(service.url, KEY, patience_seconds=2, sent=SentCatalogs()) as client:
        yield client


def test_catalog_is_sent_waited_for_and_downloaded(
    client: Rayon, service: FakeService, files: Files, tmp_path: Path
) -> None:
    told: list[Progress] = []
    catalog = client.catalog(files.products, files.images, model="text", on_progress=told.append)
    assert (catalog.status, catalog.name, catalog.is_final) == (
        "validating",
        "products.csv",
        False,
    )
    ended = catalog.wait(on_progress=told.append)
    assert ended.is_whole
    assert ended.counts.done == ended.counts.rows == 3
    assert ended.results(to=tmp_path / "out.csv").read_text() == service.results
    assert service.forms == [{"model": "text", "release": "champion", "dry_run": "false"}]
    contents = [sha256(path.read_bytes()).hexdigest() for path in (files.products, files.images)]
    assert service.bodies == contents
    stages = dict.fromkeys(progress.stage for progress in told)
    assert list(stages) == ["reading", "uploading", "validating", "running"]
    for stage in ("reading", "uploading"):
        done = [progress.done for progress in told if progress.stage == stage]
        assert done == sorted(done)
        assert done[-1] == told[0].total


def test_unknown_field_is_kept_in_raw(client: Rayon, service: FakeService) -> None:
    service.add_catalog()
    assert "of_tomorrow" in next(client.catalogs()).raw


def test_same_files_are_uploaded_once(sending: Rayon, service: FakeService, files: Files) -> None:
    first = sending.catalog(files.products, files.images)
    assert sending.catalog(files.products, files.images).id == first.id
    assert len(service.asked(*UPLOAD)) == 1


def test_client_without_record_gets_the_same_catalog(
    client: Rayon, service: FakeService, files: Files
) -> None:
    first = client.catalog(files.products)
    assert client.catalog(files.products).id == first.id
    assert len(service.asked(*UPLOAD)) == 2


def test_different_content_or_options_create_another_catalog(
    sending: Rayon, service: FakeService, files: Files
) -> None:
    ids = {
        sending.catalog(files.products).id,
        sending.catalog(files.products, files.images).id,
        sending.catalog(files.products, model="text").id,
        sending.catalog(files.products, release="2").id,
        sending.catalog(files.products, dry_run=True).id,
        sending.catalog(files.products, again=True).id,
    }
    files.products.write_text("designation\nConsole\n")
    ids.add(sending.catalog(files.products).id)
    assert len(ids) == 7


@pytest.mark.parametrize("remembers", [True, False])
def test_cancelled_catalog_is_uploaded_again(
    service: FakeService, files: Files, remembers: bool
) -> None:
    sent = SentCatalogs() if remembers else None
    with Rayon(service.url, KEY, sent=sent) as client:
        first = client.catalog(files.products)
        assert first.cancel().status == "cancelled"
        second = client.catalog(files.products)
        assert (second.status, second.id != first.id) == ("validating", True)
        assert client.catalog(files.products).id == second.id


def test_repeated_upload_replaces_the_recorded_catalog(sending: Rayon, files: Files) -> None:
    sending.catalog(files.products)
    again = sending.catalog(files.products, again=True)
    assert sending.catalog(files.products).id == again.id


def test_catalog_of_another_account_is_not_reused(
    sending: Rayon, service: FakeService, files: Files
) -> None:
    first = sending.catalog(files.products)
    service.catalogs.clear()
    service.keys.clear()
    assert sending.catalog(files.products).id != first.id


def test_upload_with_a_lost_response_is_resent_and_stored_once(
    client: Rayon, service: FakeService, files: Files
) -> None:
    service.lost.append(cut_short())
    client.catalog(files.products, files.images)
    assert len(service.asked(*UPLOAD)) == 2
    assert len(service.catalogs) == 1


def test_refused_account_uploads_no_files(
    client: Rayon, service: FakeService, files: Files
) -> None:
    service.faults.append(problem(403, "Not allowed", "Not for you"))
    with pytest.raises(Refused):
        client.catalog(files.products)
    assert not service.asked(*UPLOAD)


def test_waiting_survives_a_short_outage(client: Rayon, service: FakeService, files: Files) -> None:
    catalog = client.catalog(files.products)
    service.faults.extend([Response(status_code=502), cut_short(), Response(status_code=503)])
    assert catalog.wait().is_whole


def test_waiting_can_time_out(client: Rayon, service: FakeService, files: Files) -> None:
    service.polls = 1000
    assert client.catalog(files.products).wait(seconds=0).status == "validating"


def test_failed_rows_are_retried(client: Rayon, service: FakeService, files: Files) -> None:
    service.outcome = {"done": 2, "failed": 1}
    ended = client.catalog(files.products).wait()
    assert not ended.is_whole
    assert ended.retry().wait().is_whole


def test_cancelled_catalog_is_resumed_with_its_archive(
    client: Rayon, service: FakeService, files: Files
) -> None:
    catalog = client.catalog(files.products, files.images)
    resumed = catalog.cancel().resume(files.images)
    assert (resumed.id, resumed.status) == (catalog.id, "running")
    assert client.find_catalog(catalog.id).cancel().resume().wait().is_whole
    assert service.resumed_with == [files.images.read_bytes(), None]
    assert len(service.catalogs) == 1


def test_broken_download_keeps_the_old_file(
    service: FakeService, files: Files, tmp_path: Path
) -> None:
    out = tmp_path / "out" / "results.csv"
    out.parent.mkdir()
    out.write_text("old")
    with Rayon(service.url, KEY, patience_seconds=0) as client:
        catalog = client.catalog(files.products)
        service.faults.append(cut_short())
        with pytest.raises(Unreachable):
            catalog.results(out)
    assert [path.name for path in out.parent.iterdir()] == ["results.csv"]
    assert out.read_text() == "old"


def test_results_are_written_through_links_and_to_devices(
    client: Rayon, service: FakeService, files: Files, tmp_path: Path
) -> None:
    catalog: Catalog = client.catalog(files.products)
    link, target = tmp_path / "link.csv", tmp_path / "target.csv"
    link.symlink_to(target)
    catalog.results(link)
    assert link.is_symlink()
    assert target.read_text() == service.results
    catalog.results("/dev/null")
    assert not Path("/dev/null").is_file()
