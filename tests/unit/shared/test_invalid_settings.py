"""Tests of the messages for wrong settings."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Self

import pytest
from pydantic import AliasChoices, Field, SecretStr, StringConstraints, model_validator
from pydantic_settings import SettingsConfigDict

from infra.embedded.settings import PROJECT
from shared.invalid_settings import SHOWN_CHARACTERS, InvalidSettings
from shared.settings import BrokerSettings, Settings, WorkerSettings

PACKAGES = ("gateway", "worker_text", "worker_image", "worker_fusion", "trainer", "shared", "infra")
#: Stands alone, and has settings of its own kind.
CLIENT = PROJECT / "shared" / "client"
SECRET = "hunter2"  # nosec B105  # of no account


class Shop(Settings):
    model_config = SettingsConfigDict(env_prefix="SHOP_", frozen=True)

    rows: int = Field(default=1, ge=1)
    lanes: list[str] = Field(default_factory=list)
    key: Annotated[SecretStr | None, Field(min_length=32)] = None
    name: Annotated[str, StringConstraints(min_length=1)] = "shop"
    folder: str = Field(default="", validation_alias=AliasChoices("SHOP_PLACE"), max_length=2)
    url: str

    @model_validator(mode="after")
    def _has_url(self) -> Self:
        if self.url == "none":
            raise ValueError("SHOP_URL and SHOP_ROWS belong together")
        return self


def complaint(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    for name, value in {"SHOP_URL": "here", **variables}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InvalidSettings) as error:
        Shop()  # type: ignore[call-arg]  # from the environment
    return str(error.value)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (
            {"SHOP_ROWS": "many"},
            "SHOP_ROWS: Expected a valid integer, unable to parse string as an integer. "
            "Received: 'many'",
        ),
        ({"SHOP_ROWS": "0"}, "SHOP_ROWS: Expected greater than or equal to 1. Received: '0'"),
        ({"SHOP_LANES": "catalog"}, "SHOP_LANES: Expected JSON. Received: text that is not JSON"),
        ({"SHOP_URL": "none"}, "SHOP_URL and SHOP_ROWS belong together"),
    ],
)
def test_message_names_the_variable_and_what_came(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    assert complaint(monkeypatch, **variables) == expected


def test_each_wrong_setting_has_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = complaint(monkeypatch, SHOP_ROWS="0", SHOP_NAME="").splitlines()
    assert [line.partition(":")[0] for line in lines] == ["SHOP_ROWS", "SHOP_NAME"]


def test_missing_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOP_URL", raising=False)
    with pytest.raises(InvalidSettings, match=r"SHOP_URL: Expected a value\. Received: none"):
        Shop()  # type: ignore[call-arg]  # from the environment


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    message = complaint(monkeypatch, SHOP_KEY=SECRET, SHOP_PLACE=SECRET)
    assert SECRET not in message
    assert [line.partition(":")[0] for line in message.splitlines()] == ["SHOP_KEY", "SHOP_PLACE"]


def test_long_value_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    message = complaint(monkeypatch, SHOP_ROWS="9" * 10_000 + "x")
    assert len(message) < 2 * SHOWN_CHARACTERS + 100


def test_file_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    message = complaint(monkeypatch, SHOP_KEY_FILE="/nowhere/key")
    assert message == "SHOP_KEY_FILE: /nowhere/key cannot be read: No such file or directory"


def test_file_that_is_not_text_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xff\xfe")
    message = complaint(monkeypatch, SHOP_KEY_FILE=str(tmp_path / "key"))
    assert message == f"SHOP_KEY_FILE: {tmp_path / 'key'} cannot be read: it is not UTF-8 text"


@pytest.mark.parametrize("url", ["redis://:hunter2/x@host:6379/0", "redis://host:hunter2/0"])
def test_broken_url_of_redis_is_refused_without_its_password(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("RAYON_BROKER_URL", url)
    with pytest.raises(InvalidSettings, match="percent-encoded") as error:
        BrokerSettings()
    assert SECRET not in str(error.value)


def test_programs_that_read_settings_print_wrong_ones() -> None:
    programs = {
        path: text
        for package in PACKAGES
        for path in (PROJECT / package).rglob("*.py")
        if CLIENT not in path.parents and 'if __name__ == "__main__":' in (text := path.read_text())
    }
    assert len(programs) > 20
    with_settings = re.compile(r"Settings\(\)|import main$", re.MULTILINE)
    assert [
        path
        for path, text in programs.items()
        if with_settings.search(text) and "run_program(main)" not in text
    ] == []


@pytest.mark.parametrize(
    "module", ["gateway.main", "gateway.feeder", "worker_text.main", "trainer.main"]
)
def test_program_ends_without_a_traceback(module: str) -> None:
    wrong = {"RAYON_LOG_LEVEL": "LOUD", "RAYON_WORKER_THREADS": "some", "RAYON_METRICS_PORT": "0"}
    run = subprocess.run(
        [sys.executable, "-m", module], env=os.environ | wrong, capture_output=True, text=True
    )
    assert run.returncode == 1
    assert run.stderr.startswith("error: invalid setting: RAYON_")
    assert len(run.stderr.splitlines()) == 1


def test_error_has_no_cause_that_shows_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYON_WORKER_THREADS", "some")
    with pytest.raises(InvalidSettings) as error:
        WorkerSettings()
    assert error.value.__suppress_context__
