"""Tests of the beat file of a process."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from gateway.feeder import BeatingFeeder
from gateway.operations.beat_file import BeatFile
from shared.errors import Unavailable


def test_file_is_touched_after_the_block(tmp_path: Path) -> None:
    beat_file = BeatFile(tmp_path / "beat")
    with beat_file.after():
        assert not (tmp_path / "beat").exists()
    assert (tmp_path / "beat").exists()


def test_file_is_touched_while_a_dependency_is_down(tmp_path: Path) -> None:
    with pytest.raises(Unavailable), BeatFile(tmp_path / "beat").after():
        raise Unavailable("The database does not answer")
    assert (tmp_path / "beat").exists()


def test_file_is_not_touched_after_an_unexpected_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), BeatFile(tmp_path / "beat").after():
        raise ZeroDivisionError
    assert not (tmp_path / "beat").exists()


def test_beat_file_without_a_path_does_nothing() -> None:
    BeatFile(None).beat()


def test_feeder_beats_after_each_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.catalogs.feeder.Feeder.step", lambda _: True)
    feeder = BeatingFeeder.__new__(BeatingFeeder)
    feeder.beat_file = BeatFile(tmp_path / "beat")
    assert feeder.step()
    assert (tmp_path / "beat").exists()


@pytest.mark.parametrize(("seconds", "is_well"), [("60", True), ("20", False)])
def test_container_is_healthy_up_to_the_given_age(
    tmp_path: Path, seconds: str, is_well: bool
) -> None:
    file = tmp_path / "beat"
    file.touch()
    silent_since = time.time() - 40
    os.utime(file, (silent_since, silent_since))
    environment = {**os.environ, "RAYON_BROKER_BEAT_FILE": str(file)}
    check = ["sh", "infra/images/consumes.sh", seconds]
    assert (subprocess.run(check, env=environment, check=False).returncode == 0) == is_well
