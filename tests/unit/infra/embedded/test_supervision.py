"""supervisord's configuration says what the list of programs says."""

import configparser
from pathlib import Path

import pytest

from infra.embedded.programs import ports, programs
from infra.embedded.settings import EmbeddedSettings
from infra.embedded.supervision import Supervisor


def configuration(home: Path) -> configparser.ConfigParser:
    settings = EmbeddedSettings(home=home)
    listed = programs(settings, Path("/bin/redis-server"), home / "redis.conf", home / "token")
    Supervisor(home, listed)
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(home / "supervisord.conf")
    return parser


def test_every_program_is_restarted_and_logged(tmp_path: Path) -> None:
    found = configuration(tmp_path)
    names = [name for name in found.sections() if name.startswith("program:")]
    assert len(names) == 13
    for name in names:
        assert found[name]["autorestart"] == "True"
        assert Path(found[name]["stdout_logfile"]).parent == tmp_path / "logs"


def test_only_the_servers_start_before_the_tables(tmp_path: Path) -> None:
    found = configuration(tmp_path)
    early = {
        name
        for name in found.sections()
        if name.startswith("program:") and found[name]["autostart"] == "True"
    }
    assert early == {"program:mlflow", "program:redis"}


def test_text_and_image_workers_have_one_process_per_lane(tmp_path: Path) -> None:
    found = configuration(tmp_path)
    for modality in ("text", "image"):
        for lane in ("interactive", "catalog"):
            environment = found[f"program:{modality}-{lane}"]["environment"]
            assert f"""RAYON_WORKER_LANES='["{lane}"]'""" in environment


def test_percent_signs_in_paths_survive_the_configuration(tmp_path: Path) -> None:
    home = tmp_path / "100%"
    home.mkdir()
    assert "100%%" in configuration(home)["program:redis"]["command"]


def test_all_ports_are_checked_before_the_start(tmp_path: Path) -> None:
    found = configuration(tmp_path)
    opened = {port for _, port in ports(EmbeddedSettings(home=tmp_path))}
    for name in found.sections():
        if name.startswith("program:") and "RAYON_METRICS_PORT" in found[name].get(
            "environment", ""
        ):
            assert int(found[name]["environment"].rsplit('"', 2)[1]) in opened
    assert len(opened) == 14


def test_no_metrics_port_is_opened_when_they_are_off(tmp_path: Path) -> None:
    settings = EmbeddedSettings(home=tmp_path, metrics_port=0)
    assert "RAYON_METRICS_PORT" not in {variable for variable, _ in ports(settings)}


class FakeCalls:
    """supervisord with one program that it has given up."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.supervisor = self

    def getAllProcessInfo(self) -> list[dict[str, str]]:  # noqa: N802  # a name of supervisord
        given_up = "RUNNING" if self.started else "FATAL"
        return [
            {"name": "redis", "statename": given_up},
            {"name": "gateway", "statename": "RUNNING"},
            {"name": "trainer", "statename": "BACKOFF"},
        ]

    def startProcess(self, name: str, _wait: bool) -> None:  # noqa: N802  # a name of supervisord
        self.started.append(name)


def test_only_programs_that_supervisord_has_given_up_are_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = EmbeddedSettings(home=tmp_path)
    listed = programs(settings, Path("redis-server"), tmp_path / "redis.conf", tmp_path / "token")
    calls = FakeCalls()
    supervisor = Supervisor(tmp_path, listed)
    monkeypatch.setattr(supervisor, "_calls", lambda: calls)
    assert supervisor.start_fatal() == ["redis"]
    assert calls.started == ["servers:redis"]
    assert supervisor.start_fatal() == []
