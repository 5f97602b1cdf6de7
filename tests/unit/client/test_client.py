"""`Rayon`: products, lists, errors and retries."""

import io
import socket
from hashlib import sha256
from pathlib import Path

import pytest
from starlette.responses import HTMLResponse, RedirectResponse, Response

import rayon
from gateway.web.error_handlers import problem
from rayon import (
    Failed,
    FieldError,
    Limited,
    Rayon,
    RayonError,
    Refused,
    SignedOut,
    Unfinished,
    Unreachable,
)
from rayon.client import Image
from tests.unit.client.service import KEY, FakeService, busy, cut_short

IMAGE = b"\xff\xd8 an image"


class Pipe(io.BytesIO):
    """File that can be read only once."""

    def seekable(self) -> bool:
        return False


def test_product_is_classified(client: Rayon, service: FakeService) -> None:
    answer = client.classify("Piscine gonflable", "Pour enfants", model="text", release="2")
    assert (answer.prdtypecode, answer.category) == (2583, "Piscine et accessoires")
    assert answer.confidence == answer.top[0].probability == 0.97
    assert answer.modalities["text"].confidence == 0.95
    assert answer.degraded is None
    sent = {"designation": "Piscine gonflable", "description": "Pour enfants"}
    assert service.forms == [sent | {"model": "text", "release": "2"}]


@pytest.mark.parametrize("kind", ["path", "string", "bytes", "file", "pipe"])
def test_image_may_be_a_path_bytes_or_a_file(
    client: Rayon, service: FakeService, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(IMAGE)
    with path.open("rb") as file:
        images: dict[str, Image] = {
            "path": path,
            "string": str(path),
            "bytes": IMAGE,
            "file": file,
        }
        client.classify(image=images.get(kind, Pipe(IMAGE)))
    assert service.bodies == [sha256(IMAGE).hexdigest()]


def test_failed_job_raises_an_error(client: Rayon, service: FakeService) -> None:
    service.failing_jobs = True
    with pytest.raises(Failed, match="cannot be read") as caught:
        client.classify("Piscine")
    assert (caught.value.code, caught.value.job_id) == ("image_unreadable", *service.jobs)


def test_waiting_times_out_while_the_job_continues(client: Rayon, service: FakeService) -> None:
    service.slow_jobs = True
    with pytest.raises(Unfinished) as caught:
        client.classify("Piscine", wait_seconds=0.3)
    assert client.job(caught.value.job_id).status == "queued"
    assert client.cancel(caught.value.job_id).status == "cancelled"


def test_jobs_are_listed_across_pages(client: Rayon, service: FakeService) -> None:
    ids = [service.add_job()["id"] for _ in range(5)]
    service.add_job(status="failed")
    assert [job.id for job in client.jobs(status="done")] == ids
    assert len(service.asked("GET", "/v1/jobs")) == 3


def test_lists_return_records(client: Rayon) -> None:
    assert [one.category for one in client.categories()] == ["Piscine et accessoires"]
    assert client.releases()[0].aliases == ("champion",)
    assert client.queues().items[0].waiting == 2
    assert client.whoami().role == "client"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, SignedOut), (403, Refused), (404, Refused), (409, Refused), (500, Unreachable)],
)
def test_status_determines_the_error(
    client: Rayon, service: FakeService, status: int, kind: type[RayonError]
) -> None:
    service.faults.append(problem(status, "No", "Not like this"))
    with pytest.raises(kind, match="Not like this"):
        client.whoami()


def test_refused_has_the_fields_of_the_problem_document(
    client: Rayon, service: FakeService
) -> None:
    errors = [{"field": "designation", "message": "must not be empty"}]
    service.faults.append(problem(422, "Invalid", "Wrong", code="invalid_input", errors=errors))
    with pytest.raises(Refused) as caught:
        client.submit("")
    refused = caught.value
    assert (refused.status, refused.title, refused.detail) == (422, "Invalid", "Wrong")
    assert refused.type == "urn:rayon:problem:invalid_input"
    assert refused.errors == (FieldError("designation", "must not be empty"),)


def test_limit_longer_than_the_patience_is_raised(client: Rayon, service: FakeService) -> None:
    service.faults.append(busy(3600, status=429))
    with pytest.raises(Limited) as caught:
        client.whoami()
    assert caught.value.retry_after == 3600


@pytest.mark.parametrize("fault", [busy(1), busy(1, status=429), cut_short()])
def test_job_with_a_lost_response_is_resent_and_stored_once(
    service: FakeService, fault: Response
) -> None:
    pauses: list[float] = []
    with Rayon(service.url, KEY, on_pause=lambda seconds, _: pauses.append(seconds)) as client:
        client.whoami()
        service.slow_jobs = True
        service.faults.append(Response(status_code=502))
        service.lost.append(fault)
        client.submit("Piscine", image=IMAGE)
    sent = service.asked("POST", "/v1/jobs")
    assert len(sent) == 3
    assert len({headers["idempotency-key"] for headers in sent}) == 1
    assert len(service.jobs) == 1
    assert len(pauses) == 2
    if "Retry-After" in fault.headers:
        assert pauses[1] == 1


def test_equal_products_create_separate_jobs(client: Rayon, service: FakeService) -> None:
    client.submit("Piscine")
    client.submit("Piscine")
    assert len(service.jobs) == 2


def test_unreachable_address_fails_quickly() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with Rayon(f"http://127.0.0.1:{port}", KEY) as client, pytest.raises(Unreachable) as caught:
        client.whoami()
    assert str(port) in str(caught.value)


def test_response_of_another_server_is_an_error(client: Rayon, service: FakeService) -> None:
    service.faults.append(HTMLResponse("<h1>Welcome to the hotel</h1>"))
    with pytest.raises(Unreachable, match="not from a Rayon service"):
        client.whoami()


def test_credentials_do_not_follow_a_redirect(client: Rayon, service: FakeService) -> None:
    service.faults.append(RedirectResponse(f"{service.url}/elsewhere"))
    with pytest.raises(Unreachable, match="redirects to"):
        client.whoami()
    assert not service.asked("GET", "/elsewhere")


def test_environment_provides_address_and_key(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYON_URL", service.url + "/")
    monkeypatch.setenv("RAYON_API_KEY", KEY)
    with Rayon() as client:
        assert client.whoami().username == "amelie"


def test_supplied_token_is_sent_unchanged(service: FakeService) -> None:
    with Rayon(service.url, token=service.new_tokens().access_token) as client:
        client.whoami()
        service.expire()
        with pytest.raises(SignedOut):
            client.whoami()
    assert not service.asked("POST", "/v1/token/refresh")


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://rayon", "http://", "rayon"])
def test_invalid_url_is_rejected(url: str) -> None:
    with pytest.raises(RayonError, match="Expected a URL"):
        Rayon(url, KEY)


def test_missing_sign_in_names_the_login_command(service: FakeService) -> None:
    with pytest.raises(SignedOut, match="rayon login"):
        Rayon(service.url)


def test_label_is_recorded_and_removed(client: Rayon, service: FakeService) -> None:
    job_id = service.add_job()["id"]
    assert client.label(job_id, 2583).label == 2583
    assert client.label(job_id, None).label is None


def test_label_of_a_new_category_has_to_be_wanted(client: Rayon, service: FakeService) -> None:
    job_id = service.add_job()["id"]
    with pytest.raises(Refused, match="No such category: 9999"):
        client.label(job_id, 9999)
    assert client.label(job_id, 9999, new_category=True).label == 9999


@pytest.mark.parametrize("trusted", [True, False])
def test_admin_decides_if_labels_of_an_account_train(client: Rayon, trusted: bool) -> None:
    account = client.trust_labels("eve", trusted=trusted)
    assert (account.username, account.raw["labels_trusted"]) == ("eve", trusted)


def test_label_is_retried_while_the_service_is_busy(client: Rayon, service: FakeService) -> None:
    job_id = service.add_job()["id"]
    client.whoami()
    service.faults.append(busy(0))
    assert client.label(job_id, 2583).label == 2583


def test_public_names_are_imported_when_they_are_used() -> None:
    for name in rayon.__all__:
        assert getattr(rayon, name).__name__ == name
    assert set(rayon.__all__) <= set(dir(rayon))
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = rayon.Nothing


def test_classify_asks_for_the_answer_in_the_response(client: Rayon, service: FakeService) -> None:
    client.classify("Piscine", wait_seconds=12.5)
    client.classify("Piscine", wait_seconds=100)
    client.submit("Piscine")
    sent = [(method, headers.get("prefer")) for method, _, headers in service.requests]
    assert sent == [("POST", "wait=12.5"), ("POST", "wait=30"), ("POST", None)]
