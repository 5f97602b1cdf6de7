"""Fake service, and a separate home folder without a sign-in."""

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rayon import Rayon, catalogs
from rayon.cli.main import build_app
from rayon.sessions import sign_in
from rayon.sign_in import SavedSignIns
from tests.unit.client.service import KEY, PASSWORD, USERNAME, FakeService, Running

Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    """Return a function that runs a command line as a user types it."""

    def run(command: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(build_app(), shlex.split(command), input=stdin)

    return run


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder for configuration and state."""
    for name in ("RAYON_URL", "RAYON_API_KEY", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home" / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home" / "state"))
    return tmp_path / "home"


@pytest.fixture(autouse=True)
def quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask for the state of a catalog many times a second."""
    monkeypatch.setattr(catalogs, "POLL_SECONDS", 0.02)


@pytest.fixture
def service() -> Iterator[FakeService]:
    """Start a fake service whose behaviour the test sets."""
    with Running() as service:
        yield service


@pytest.fixture
def client(service: FakeService) -> Iterator[Rayon]:
    """Return a client with an API key and a short patience."""
    with Rayon(service.url, KEY, patience_seconds=20) as client:
        yield client


@pytest.fixture
def saved() -> SavedSignIns:
    """Return the sign-ins of the test's home folder."""
    return SavedSignIns()


@pytest.fixture
def signed_in(service: FakeService, saved: SavedSignIns) -> SavedSignIns:
    """Sign in with a password."""
    sign_in(service.url, USERNAME, PASSWORD, saved)
    return saved
