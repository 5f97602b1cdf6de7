"""Programs of the embedded run get their own settings, and no secret of another."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import gateway.settings
from infra.embedded import variables
from infra.embedded.programs import Program, confined, programs
from infra.embedded.settings import MARK, EmbeddedSettings, environment
from tests.support.settings_groups import settings_groups

#: Secrets, and the programs that read them; `text` stands for both lanes of the text worker.
READERS: dict[str, set[str]] = {
    "RAYON_ADMIN_PASSWORD": set(),
    "RAYON_GATEWAY_SECRET_KEY": {"gateway"},
    "RAYON_SSO_CLIENT_SECRET": {"gateway"},
    "RAYON_DATABASE_URL": {
        *("gateway", "scheduler", "feeder", "trainer", "monitor"),
        *("fusion-interactive", "fusion-catalog", "text-interactive"),
    },
    "AWS_SECRET_ACCESS_KEY": {"gateway", "scheduler", "feeder", "trainer", "monitor", "image"},
    "RAYON_RELEASES_TOKEN": {"gateway", "trainer", "monitor", "text", "image", "fusion"},
    "SECRET_OF_THE_SHELL": set(),
}


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Everything that a launcher may have in its environment."""
    for name in READERS:
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/bundle.pem")
    return environment(EmbeddedSettings(home=tmp_path), "key", "password", "token")


@pytest.fixture
def listed(tmp_path: Path, given: dict[str, str]) -> list[Program]:
    settings = EmbeddedSettings(home=tmp_path)
    found = programs(settings, Path("/bin/redis"), tmp_path / "redis.conf", tmp_path / "token")
    return [confined(program, given) for program in found]


def left(program: Program, given: dict[str, str]) -> dict[str, str]:
    """Run a program's `env` with Python in its place, and return what it sees."""
    command = list(program.command)
    place = next(n for n, part in enumerate(command) if "/" in part and n)
    shown = [sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))"]
    run = subprocess.run(
        [*command[:place], *shown],
        env=given | program.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    seen: dict[str, str] = json.loads(run.stdout)
    return seen


def test_mlflow_gets_no_variable_of_rayon(listed: list[Program], given: dict[str, str]) -> None:
    (server,) = (program for program in listed if program.name == "mlflow")
    names = {name for name in left(server, given) if name.startswith("RAYON_")}
    assert names == {MARK}


@pytest.mark.parametrize("secret", READERS)
def test_secret_is_inherited_only_by_its_readers(
    secret: str, listed: list[Program], given: dict[str, str]
) -> None:
    readers = READERS[secret]
    expected = {one.name for one in listed if {one.name, one.name.partition("-")[0]} & readers}
    assert {program.name for program in listed if secret in left(program, given)} == expected


def test_every_program_gets_certificates_and_proxies(
    listed: list[Program], given: dict[str, str]
) -> None:
    for program in listed:
        assert {"PATH", "HTTPS_PROXY", "SSL_CERT_FILE", MARK} <= left(program, given).keys()


def test_no_value_is_in_a_command_line(listed: list[Program]) -> None:
    assert not any("secret" in part for program in listed for part in program.command[1:3])
    assert not any(part == "secret" for program in listed for part in program.command)


def test_every_settings_group_is_inherited_by_a_program(listed: list[Program]) -> None:
    for group in settings_groups():
        prefix = str(group.model_config.get("env_prefix", ""))
        for field in group.model_fields if prefix else ():
            name = f"{prefix}{field}".upper()
            assert any(variables.is_own(name, program.inherits) for program in listed), name


def test_gateway_inherits_all_of_its_settings_but_the_retention(listed: list[Program]) -> None:
    (program,) = (program for program in listed if program.name == "gateway")
    prefixes = {
        str(group.model_config.get("env_prefix"))
        for group in settings_groups()
        if group.__module__ == gateway.settings.__name__
    }
    inherited = {one for one in prefixes if variables.is_own(f"{one}X", program.inherits)}
    assert prefixes - inherited == {"RAYON_RETENTION_"}
