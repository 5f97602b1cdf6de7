"""Processes of an instance, identified by a marker in their environment."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from infra.embedded.settings import MARK

#: Time for a process to stop before it is killed.
STOP_SECONDS = 15.0
#: Most searches for processes; one that cannot be killed does not hold up the launcher.
SEARCHES = 4
#: Module that runs supervisord (`infra.embedded.supervision`).
SUPERVISOR = "infra.embedded.supervisord"


def instance_processes(home: Path) -> dict[str, psutil.Process]:
    """Return the running processes of an instance by name, such as `gateway`."""
    return {name: process for process, name in _marked(home)}


def end_strays(home: Path) -> list[str]:
    """End the processes left by an earlier run, supervisor first; return their names.

    The caller holds the lock of the home, so no living launcher owns them. A process that is about
    to become a program shows no environment for a moment, so the search is repeated until it finds
    none.
    """
    names: list[str] = []
    for _ in range(SEARCHES):
        found = _end(sorted(_marked(home), key=lambda pair: pair[1] != "supervisord"))
        if not found:
            break
        names += found
    return names


def _end(strays: Sequence[tuple[psutil.Process, str]]) -> list[str]:
    for process, _ in strays:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs([process for process, _ in strays], timeout=STOP_SECONDS)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=STOP_SECONDS)
    return [name for _, name in strays]


def _marked(home: Path) -> Iterator[tuple[psutil.Process, str]]:
    for process in psutil.process_iter():
        # Other people's processes do not show their environment, and are not ours.
        with contextlib.suppress(psutil.Error, OSError):
            name = _name(process, home)
            if name:
                yield process, name


def _name(process: psutil.Process, home: Path) -> str | None:
    # Redis writes its title over its environment, but works in a folder of the home.
    if process.name() == "redis-server" and process.cwd() == str(home / "redis"):
        return "redis"
    carried = process.environ()
    if carried.get(MARK) != str(home):
        return None
    if SUPERVISOR in process.cmdline():
        return "starting" if _is_copy(process) else "supervisord"
    # Without a name it is a step of the start, such as the migrations.
    return carried.get("SUPERVISOR_PROCESS_NAME", "starting")


def _is_copy(process: psutil.Process) -> bool:
    """Return True if the process is a fresh fork that has not yet become a program."""
    with contextlib.suppress(psutil.Error):
        parent = process.parent()
        return parent is not None and parent.cmdline() == process.cmdline()
    return False
