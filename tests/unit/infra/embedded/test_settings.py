"""Settings of the embedded run that come from a file."""

import os
from pathlib import Path

import pytest

from infra.embedded.settings import EmbeddedSettings, read_dotenv


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test its own copy of the environment."""
    monkeypatch.setattr(os, "environ", dict(os.environ))


def test_shell_takes_precedence_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "settings").write_text("RAYON_HOME=file\nRAYON_REDIS_PORT=7000\n")
    os.environ |= {"RAYON_DOTENV": str(tmp_path / "settings"), "RAYON_HOME": "shell"}
    read_dotenv()
    assert (os.environ["RAYON_HOME"], os.environ["RAYON_REDIS_PORT"]) == ("shell", "7000")


def test_settings_file_of_compose_is_not_read(tmp_path: Path) -> None:
    # RAYON_ENV_FILE names the settings of the containers, which have other addresses.
    (tmp_path / "rayon.env").write_text("RAYON_HOME=containers\n")
    os.environ["RAYON_ENV_FILE"] = str(tmp_path / "rayon.env")
    read_dotenv()
    assert "RAYON_HOME" not in os.environ


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::1", "http://[::1]:8000"),
        ("::", "http://[::1]:8000"),
        ("shop.example.org", "http://shop.example.org:8000"),
    ],
)
def test_address_is_one_that_local_clients_reach(host: str, address: str) -> None:
    assert EmbeddedSettings(gateway_host=host, gateway_port=8000).address == address
