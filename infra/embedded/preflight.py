"""Checks before the start; every obstacle is reported in one line."""

import fcntl
import os
import shutil
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from infra.embedded.settings import EmbeddedSettings
from infra.embedded.strays import end_strays

#: Folders of an instance in its home that the launcher creates.
FOLDERS = ("storage", "releases", "training", "mlflow", "logs")
#: Folders whose files are opened by name; the launcher cannot look into all files of the others.
SMALL_FOLDERS = ("secrets", "logs", "redis", "mlflow")


class NotReady(Exception):
    """Obstacle to the start; the message has the reason and the remedy."""


@contextmanager
def locked_home(home: Path) -> Iterator[None]:
    """Lock an instance's folder; the kernel releases the lock when the process dies.

    Raises:
        NotReady: The folder belongs to another user or cannot be written, or another launcher
            holds it.
    """
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        _close_to_others(home)
        file = (home / "launcher.pid").open("a+")
    except OSError as error:
        raise NotReady(
            f"Cannot write in {home}: {error.strerror}. Another folder: RAYON_HOME=folder make run"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise NotReady(
                f"Rayon already runs in {home} (launcher pid {file.read().strip()}). "
                "Stop it with Ctrl-C there, or start another with RAYON_HOME and other ports."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def check(settings: EmbeddedSettings, ports: list[tuple[str, int]]) -> None:
    """End stray processes of an earlier run, then check folders, disk and ports.

    Raises:
        NotReady: A check failed.
    """
    ended = end_strays(settings.home)
    if ended:
        print(f"Ended processes left by an earlier run: {', '.join(sorted(ended))}")
    check_access(settings.home)
    _check_disk(settings)
    for variable, port in ports:
        _check_port(settings, variable, port)


def _close_to_others(home: Path) -> None:
    """Give a folder that was there before the mode of one that is made here."""
    found = home.stat()
    if found.st_uid != os.geteuid():
        raise NotReady(
            f"Expected {home} to belong to the user who starts Rayon (uid {os.geteuid()}). "
            f"Received: uid {found.st_uid}. Another folder: RAYON_HOME=folder make run"
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        home.chmod(0o700)


def check_access(home: Path) -> None:
    """Check that the files and folders of an instance can be read and written.

    A command that was once run as root leaves some that cannot.

    Raises:
        NotReady: One cannot.
    """
    for path in _opened(home):
        if not _is_accessible(path):
            raise NotReady(_inaccessible(path, home))


def not_permitted(error: PermissionError) -> str:
    """Return the reason and the remedy of an error at the start."""
    path = Path(error.filename or ".").absolute()
    return _inaccessible(path, path)


def _opened(home: Path) -> Iterator[Path]:
    for path in sorted(home.iterdir()):
        yield path
        if path.name in SMALL_FOLDERS and path.is_dir() and os.access(path, os.R_OK | os.X_OK):
            yield from sorted(path.iterdir())


def _is_accessible(path: Path) -> bool:
    if path.is_symlink() or path.is_socket():
        return True
    needed = os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)
    return os.access(path, needed, effective_ids=os.access in os.supports_effective_ids)


def _inaccessible(path: Path, home: Path) -> str:
    user = os.geteuid()
    expected = f"Expected {path} to be readable and writable for uid {user}, who starts Rayon."
    try:
        found = path.stat()
    except OSError as error:
        return f"{expected} Received: {error.strerror}. Mend it with: sudo chown -R {user} {home}"
    mend = f"chmod -R u+rwX {home}" if found.st_uid == user else f"sudo chown -R {user} {home}"
    mode = stat.S_IMODE(found.st_mode)
    return f"{expected} Received: owner uid {found.st_uid}, mode {mode:04o}. Mend it with: {mend}"


def _check_disk(settings: EmbeddedSettings) -> None:
    free = shutil.disk_usage(settings.home).free // 2**20
    if free < settings.min_free_megabytes:
        raise NotReady(
            f"The disk of {settings.home} has {free} MB free, {settings.min_free_megabytes} MB "
            "are needed. Make room, or set RAYON_HOME to a folder on another disk."
        )
    probe = settings.home / ".probe"
    try:
        probe.write_bytes(b"0" * 4096)
        probe.unlink()
    except OSError as error:
        raise NotReady(f"Cannot write in {settings.home}: {error.strerror}.") from error


def _check_port(settings: EmbeddedSettings, variable: str, port: int) -> None:
    host = settings.gateway_host if variable == "RAYON_GATEWAY_PORT" else "127.0.0.1"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise NotReady(
                f"Port {port} cannot be used: {error.strerror}{_holder(port)}. "
                f"Another one: {variable}=PORT make run"
            ) from error


def _holder(port: int) -> str:
    try:
        for link in psutil.net_connections("tcp"):
            if link.laddr and link.laddr.port == port and link.status == psutil.CONN_LISTEN:
                process = psutil.Process(link.pid) if link.pid else None
                return f", held by pid {link.pid} ({process.name()})" if process else ""
    except psutil.Error:
        return ""
    return ""
