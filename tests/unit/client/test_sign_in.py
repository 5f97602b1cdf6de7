"""Saved tokens: private, renewed by one process at a time, never used twice."""

import stat
import threading
from pathlib import Path

import pytest

from rayon import Rayon, RayonError, SignedOut, Unreachable
from rayon.sessions import sign_in, sign_in_with_key
from rayon.sign_in import SavedSignIns
from tests.unit.client.service import KEY, PASSWORD, USERNAME, FakeService, busy

REFRESH = ("POST", "/v1/token/refresh")


def test_sign_in_file_is_readable_by_its_owner_only(
    service: FakeService, signed_in: SavedSignIns
) -> None:
    assert stat.S_IMODE(signed_in.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(signed_in.path.parent.stat().st_mode) == 0o700
    assert PASSWORD not in signed_in.path.read_text()
    with Rayon() as client:
        assert (client.url, client.whoami().username) == (service.url, USERNAME)
    assert not service.asked(*REFRESH)


def test_next_sign_in_of_a_user_sends_the_cookie_of_the_device(
    service: FakeService, saved: SavedSignIns
) -> None:
    sign_in(service.url, USERNAME, PASSWORD, saved)
    with Rayon() as client:
        client.sign_out()
    with pytest.raises(SignedOut):
        sign_in(service.url, "somebody", PASSWORD, saved)
    sign_in(service.url, USERNAME, PASSWORD, saved)
    sign_in(service.url, USERNAME, PASSWORD, saved)
    sent = [headers.get("cookie") for headers in service.asked("POST", "/v1/token")]
    assert sent == [None, None, "rayon_device=device1", "rayon_device=device4"]
    assert stat.S_IMODE(saved.path.stat().st_mode) == 0o600


def test_wrong_password_saves_nothing(service: FakeService, saved: SavedSignIns) -> None:
    with pytest.raises(SignedOut, match="password is not right"):
        sign_in(service.url, USERNAME, "wrong", saved)
    assert saved.find(service.url) is None


def test_password_is_not_resent_while_the_service_is_busy(
    service: FakeService, saved: SavedSignIns
) -> None:
    service.faults.append(busy())
    with pytest.raises(Unreachable):
        sign_in(service.url, USERNAME, PASSWORD, saved)
    assert len(service.asked("POST", "/v1/token")) == 1


def test_refused_token_is_renewed_and_saved(service: FakeService, signed_in: SavedSignIns) -> None:
    before = signed_in.find()
    service.expire()
    with Rayon() as client:
        client.classify("Piscine", image=b"an image")
    after = signed_in.find()
    assert before
    assert after
    assert before.refresh_token != after.refresh_token
    assert len(service.asked(*REFRESH)) == 1
    assert len(service.bodies) == 1


def test_expiring_token_is_renewed_before_use(service: FakeService, saved: SavedSignIns) -> None:
    service.access_seconds = 10
    sign_in(service.url, USERNAME, PASSWORD, saved)
    service.access_seconds = 900
    with Rayon() as client:
        client.whoami()
        client.whoami()
    assert [path for _, path, _ in service.requests[1:]] == [
        "/v1/token/refresh",
        "/v1/me",
        "/v1/me",
    ]


def test_large_upload_starts_with_a_long_lived_token(
    service: FakeService, signed_in: SavedSignIns
) -> None:
    kept = signed_in.find()
    assert kept
    signed_in.renew(type(kept)(**{**vars(kept), "expires_at": kept.expires_at - 600}))
    with Rayon() as client:
        client.submit("Piscine", image=b"small")
        assert not service.asked(*REFRESH)
        client.submit("Piscine", image=b"large" * 1_000_000)
    assert len(service.asked(*REFRESH)) == 1


def test_expired_session_is_deleted(service: FakeService, signed_in: SavedSignIns) -> None:
    service.sessions.clear()
    with Rayon() as client, pytest.raises(SignedOut, match="rayon login"):
        client.whoami()
    assert signed_in.find(service.url) is None
    assert signed_in.latest_url() == service.url


def test_concurrent_threads_renew_once(service: FakeService, signed_in: SavedSignIns) -> None:
    service.expire()
    failures: list[Exception] = []
    start = threading.Barrier(6)

    def ask() -> None:
        try:
            with Rayon() as client:
                start.wait()
                client.whoami()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(service.asked(*REFRESH)) == 1


def test_failed_renewal_keeps_the_session(
    service: FakeService, signed_in: SavedSignIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.expire()
    monkeypatch.setattr(service, "new_tokens", lambda _: busy())
    with Rayon(patience_seconds=0) as client, pytest.raises(Unreachable):
        client.whoami()
    monkeypatch.undo()
    assert signed_in.find(service.url)


def test_each_address_has_its_own_sign_in(service: FakeService, signed_in: SavedSignIns) -> None:
    other = service.url.replace("127.0.0.1", "localhost")
    sign_in_with_key(other, KEY, signed_in)
    with Rayon() as client:
        assert client.url == other
        client.whoami()
    with Rayon(service.url) as client:
        client.whoami()
    assert ["x-api-key" in headers for headers in service.asked("GET", "/v1/me")] == [
        True,
        True,
        False,
    ]


def test_invalid_sign_in_file_is_named(saved: SavedSignIns, home: Path) -> None:
    saved.path.parent.mkdir(parents=True)
    saved.path.write_text("{")
    with pytest.raises(RayonError, match=r"sign-ins\.json is not valid JSON"):
        Rayon()
