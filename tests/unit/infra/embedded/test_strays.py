"""Which process is which, of an instance."""

import os
import subprocess
import sys
from pathlib import Path

import psutil

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
