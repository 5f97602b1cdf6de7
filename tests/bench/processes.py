"""Processes of a throw-away system, of this version or of an earlier one."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil

from infra.embedded.settings import MARK

#: Variable with which supervisord names a program.
NAME = "SUPERVISOR_PROCESS_NAME"
REDIS = "redis-server"


def programs(home: Path) -> dict[str, psutil.Process]:
    """Return supervisord and the processes that it started, by the names of their programs."""
    found: dict[str, psutil.Process] = {}
    supervisor = _supervisor(home)
    if supervisor is None:
        return found
    for process in _children(supervisor.pid):
        # It may end meanwhile.
        with contextlib.suppress(psutil.Error):
            found[_name(process)] = process
    return found | {"supervisord": supervisor}


def family(process: psutil.Process) -> list[psutil.Process]:
    """Return a process and the processes that it started."""
    return [process, *process.children(recursive=True)]


def kill_all(home: Path) -> None:
    """Kill every process of a system that is left over."""
    for process in _marked(home):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


def _supervisor(home: Path) -> psutil.Process | None:
    # The module that runs it has another name in earlier versions. A copy that becomes a program
    # is its child.
    found = {}
    for process in _marked(home):
        with contextlib.suppress(psutil.Error):
            if any(part.endswith(".supervisord") for part in process.cmdline()):
                found[process.pid] = process
    for process in found.values():
        with contextlib.suppress(psutil.Error):
            if process.ppid() not in found:
                return process
    return None


def _marked(home: Path) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if _is_redis(process, home) or process.environ().get(MARK) == str(home):
                yield process


def _is_redis(process: psutil.Process, home: Path) -> bool:
    # It writes its title over its environment.
    return process.name() == REDIS and process.cwd() == str(home / "redis")


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children()
    except psutil.NoSuchProcess:
        return []


def _name(process: psutil.Process) -> str:
    return "redis" if process.name() == REDIS else process.environ().get(NAME, "starting")
