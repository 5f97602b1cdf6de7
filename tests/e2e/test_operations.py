"""Operations on the running system: cancel a training; promote and roll back a release."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from shared.inference.releases.registry import Releases
from shared.settings import ReleaseSettings
from tests.e2e.system import System, final
from tests.support.servers import until

#: The trainer starts last, which takes long on a busy machine.
SECONDS = 150
REASON = {"reason": "end to end"}


@pytest.fixture
def client(system: System) -> Iterator[httpx.Client]:
    with system.client() as client:
        yield client


@pytest.fixture
def releases(system: System, tmp_path: Path) -> Releases:
    """Return a client of the registry of the system."""
    address = f"http://127.0.0.1:{system.environment['RAYON_MLFLOW_PORT']}"
    token = (system.home / "secrets" / "registry_token").read_text()
    settings = ReleaseSettings(
        mlflow_url=address, token=SecretStr(token), cache=tmp_path / "releases"
    )
    return Releases(settings)


def test_training_run_is_started_followed_and_cancelled(client: httpx.Client) -> None:
    accepted = client.post("/v1/training-runs", json=REASON)
    assert accepted.status_code == 202
    run = accepted.headers["Location"]
    waiting = client.post("/v1/training-runs", json=REASON).headers["Location"]

    def status(path: str) -> str:
        return str(client.get(path).json()["status"])

    until(lambda: status(run) == "running", SECONDS, "the training has started")
    assert status(waiting) == "queued"
    assert client.delete(waiting).json()["status"] == "cancelled"
    assert client.delete(run).json()["cancel_requested_at"] is not None
    until(lambda: status(run) == "cancelled", SECONDS, "the training is cancelled")
    assert "repeats none of them" in client.get(run).json()["message"]
    assert status(waiting) == "cancelled"


def test_release_is_promoted_and_rolled_back_while_the_system_runs(
    client: httpx.Client, releases: Releases
) -> None:
    copy = releases.register(releases.folder("1"), description="The same again")
    assert client.post(f"/v1/releases/{copy}/promote", json=REASON).json()["aliases"] == [
        "champion"
    ]
    until(lambda: release_of_a_job(client) == copy, SECONDS, "jobs use the new release")
    assert client.post("/v1/releases/rollback", json=REASON).json()["version"] == "1"
    until(lambda: release_of_a_job(client) == "1", SECONDS, "jobs use the old release")
    ledger = client.get("/v1/releases").json()["ledger"]
    pairs = [(line["previous_version"], line["version"]) for line in ledger]
    assert pairs == [(copy, "1"), ("1", copy), (None, "1")]


def release_of_a_job(client: httpx.Client) -> str:
    job = final(client, data={"designation": "Piscine gonflable ronde pour enfants"})
    assert job["status"] == "done"
    return str(job["release"])


def test_rejected_release_is_listed_but_cannot_be_promoted(
    client: httpx.Client, releases: Releases
) -> None:
    reason = "90 ms for a text, at most 50 ms are allowed"
    rejected = releases.register(releases.folder("1"), description="Too slow", rejected=reason)
    assert client.get(f"/v1/releases/{rejected}").json()["rejected"] == reason
    answer = client.post(f"/v1/releases/{rejected}/promote", json=REASON)
    assert answer.status_code == 409
    assert reason in answer.json()["detail"]
