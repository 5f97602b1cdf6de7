"""Limits of a training: their defaults on a machine, and what they set."""

import os
from pathlib import Path

import psutil
import pytest

from trainer import settings
from trainer.runs.limits import Limits, MemoryExceeded, MemoryWatch
from trainer.settings import TrainerSettings

GIBIBYTE = 2**30


@pytest.fixture
def limit_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the only file that may state the memory limit of a container."""
    path = tmp_path / "memory.max"
    monkeypatch.setattr(settings, "CONTAINER_LIMITS", (tmp_path / "absent", path))
    return path


def test_training_leaves_a_core_to_other_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, threads in ((8, 7), (2, 1), (1, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        assert TrainerSettings().threads == threads


@pytest.mark.parametrize("content", [None, "max\n", f"{2**63 - 4096}\n"])
def test_training_may_use_a_share_of_the_machine(limit_file: Path, content: str | None) -> None:
    if content is not None:
        limit_file.write_text(content)
    share = TrainerSettings().memory_megabytes * 2**20
    assert share == pytest.approx(0.6 * psutil.virtual_memory().total, abs=2**20)


def test_training_stays_within_its_container(limit_file: Path) -> None:
    limit_file.write_text(f"{GIBIBYTE}\n")
    assert TrainerSettings().memory_megabytes == 1024 * 9 // 10


def test_every_library_gets_the_threads() -> None:
    found = Limits(threads=3).environment()
    assert {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"} <= found.keys()
    assert set(found.values()) == {"3"}
    assert Limits().environment() == {}


def test_memory_is_that_of_the_whole_group() -> None:
    group = os.getpgid(0)
    MemoryWatch(group, None).check()
    MemoryWatch(group, 2**50).check()
    with pytest.raises(MemoryExceeded) as raised:
        MemoryWatch(group, 1).check()
    assert raised.value.used > 1
    MemoryWatch(2**22 + 1, 1).check()
