"""Which process is which, of an instance."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from infra.embedded import strays
from infra.embedded.settings import MARK
from infra.embedded.strays import instance_processes
from tests.support.servers import until

#: Forks, as supervisord does before a program takes the place of the copy.
FORKS = "import os, time; os.fork(); time.sleep(60)"


def test_supervisor_is_distinguished_from_a_program_that_it_forks(tmp_path: Path) -> None:
    supervisor = subprocess.Popen(
        [sys.executable, "-c", FORKS, "infra.embedded.supervisord"],
        env={**os.environ, MARK: str(tmp_path)},
    )
    process = psutil.Process(supervisor.pid)
    try:
        until(lambda: len(process.children()) == 1, 20, "it forks")
        found = instance_processes(tmp_path)
        assert found["supervisord"].pid == supervisor.pid
        assert found["starting"].pid == process.children()[0].pid
    finally:
        for one in [*process.children(), process]:
            one.kill()
        supervisor.wait()


def test_process_that_the_first_search_misses_is_ended_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given two processes, one of which shows no environment in the first search
    both = [_sleeping(tmp_path, name) for name in ("image", "text")]
    searches = iter([both[:1], both[1:], []])

    def marked(_home: Path) -> Iterator[tuple[psutil.Process, str]]:
        for process in next(searches):
            yield psutil.Process(process.pid), str(process.pid)

    monkeypatch.setattr(strays, "_marked", marked)
    try:
        ended = strays.end_strays(tmp_path)
    finally:
        for process in both:
            process.kill()
            process.wait()
    assert ended == [str(process.pid) for process in both]
    assert not any(psutil.pid_exists(process.pid) for process in both)


def _sleeping(folder: Path, name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", name], cwd=folder)
