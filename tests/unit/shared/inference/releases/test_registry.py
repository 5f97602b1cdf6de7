"""The client of the registry has its token, and imports MLflow when it is made."""

import os
import subprocess
import sys

import pytest
from pydantic import SecretStr

from shared.inference.releases.registry import Releases
from shared.settings import ReleaseSettings


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test its own copy of the environment."""
    monkeypatch.setattr(os, "environ", dict(os.environ))
    os.environ.pop("MLFLOW_TRACKING_TOKEN", None)


def test_token_is_given_to_the_client_of_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "another")
    Releases(ReleaseSettings(token=SecretStr("secret")))
    assert os.environ["MLFLOW_TRACKING_TOKEN"] == "secret"


def test_token_of_the_operator_stays_without_one_of_rayon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "another")
    Releases(ReleaseSettings())
    assert os.environ["MLFLOW_TRACKING_TOKEN"] == "another"


def test_token_is_no_part_of_the_representation() -> None:
    assert "secret-of-it" not in repr(ReleaseSettings(token=SecretStr("secret-of-it")))


def test_module_imports_no_mlflow() -> None:
    code = "import sys, shared.inference.releases.registry; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
