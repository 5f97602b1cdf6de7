"""Environments in which only a worker's packages and code exist, and no network."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from shared.errors import InvalidInput
from trainer.installer import uv

#: Root of the project, with the workers' folders and requirements.
PROJECT = Path(__file__).parents[2]
#: Packages that a worker's process may import beside its requirements.
SOURCES = ("shared", "worker_text", "worker_image", "worker_fusion")
PROBE_SECONDS = 600.0
#: Audit hook that refuses connections: a release must not need anything outside its folder.
NO_NETWORK = """\
import sys


def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        raise OSError(f"There is no network in the package test: {event} {arguments[1:]}")


sys.addaudithook(refuse)
"""
#: Finder that hides packages which only the trainer has.
NO_PACKAGES = """

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)


HIDDEN = {names}
sys.meta_path.insert(0, Hidden())
"""


def surroundings() -> dict[str, str]:
    """Return digests of the workers' code and requirements, and the version of Python.

    A verdict depends on them beside the release.
    """
    files = [path for name in SOURCES for path in (PROJECT / name).rglob("*.py")]
    files += (PROJECT / "requirements").glob("worker_*.txt")
    found = {
        path.relative_to(PROJECT).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(files)
    }
    return found | {"python": sys.version}


def environment(worker: str, work: Path) -> Path:
    """Create the environment of a worker unless it exists; return its Python.

    Raises:
        IndexUnreachable: The package index does not answer.
        InvalidInput: It cannot be created; the message contains the reason.
    """
    requirements = PROJECT / "requirements" / f"{worker}.txt"
    if not requirements.is_file():
        raise InvalidInput(f"Expected the requirements {requirements.name}. Received: none")
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    # The worker's code runs in another folder.
    work = work.absolute()
    target = work / f"{worker}-{digest[:16]}"
    python = target / "bin" / "python"
    if python.exists():
        return python
    # An environment may remain whose Python was removed from this machine.
    shutil.rmtree(target, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    # Created under another name and renamed, so that an interrupted test leaves no partial one.
    with tempfile.TemporaryDirectory(prefix=".new-", dir=work) as temporary:
        created = Path(temporary) / target.name
        _install(created, requirements)
        # Another test may have created the same environment meanwhile.
        if not target.exists():
            created.rename(target)
    return python


def _install(folder: Path, requirements: Path) -> None:
    uv("venv", "--relocatable", "--python", sys.executable, str(folder))
    python = str(folder / "bin" / "python")
    uv("pip", "install", "--python", python, "--require-hashes", "-r", str(requirements))


@contextmanager
def sources_in(work: Path, hidden: Sequence[str] = ()) -> Iterator[Path]:
    """Make a temporary folder with only the workers' code, and a hook that refuses connections.

    Args:
        work: Folder in which it is made.
        hidden: Packages that cannot be imported there.
    """
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".sources-", dir=work) as folder:
        hook = NO_NETWORK + (NO_PACKAGES.format(names=set(hidden)) if hidden else "")
        for name in SOURCES:
            (Path(folder) / name).symlink_to(PROJECT / name)
        (Path(folder) / "sitecustomize.py").write_text(hook, "utf-8")
        yield Path(folder)


def run_clean(command: list[str], sources: Path, stdin: str) -> subprocess.CompletedProcess[str]:
    """Run a command on the workers' code alone, without this process's environment.

    Raises:
        OSError: It does not start, or does not finish in time.
    """
    # Only the variables that Python itself needs: no settings, no other packages.
    clean = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    try:
        return subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            cwd=sources,
            env=clean | {"PYTHONPATH": str(sources), "PYTHONUTF8": "1"},
            timeout=PROBE_SECONDS,
            check=False,
        )
    except (subprocess.TimeoutExpired, OSError) as error:
        raise OSError(f"The worker's Python did not finish: {error}") from error
