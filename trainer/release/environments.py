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

#: Root of the project, with the workers' folders and requirements.
PROJECT = Path(__file__).parents[2]
#: Packages that a worker's process may import beside its requirements.
SOURCES = ("shared", "worker_text", "worker_image", "worker_fusion")
#: A first installation downloads several hundred megabytes.
INSTALL_SECONDS = 900.0
PROBE_SECONDS = 600.0
#: Variables that name a bundle of certificate authorities. uv reads only the first.
BUNDLE_VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
#: The system's bundle on Debian and Ubuntu, which uv does not read by default.
SYSTEM_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
#: Length at which an installer's error is cut; its beginning contains the reason.
LONGEST_REASON = 400
#: Parts of uv's errors about a package index that does not answer.
UNREACHABLE = ("failed to fetch", "error sending request", "dns error", "connection refused")
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


class IndexUnreachable(InvalidInput):
    """The package index does not answer, so no environment can be installed."""


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
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.defpath]))
    if uv is None:
        raise InvalidInput("Expected the installer `uv` beside this Python. Received: none")
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
        _install(uv, created, requirements)
        # Another test may have created the same environment meanwhile.
        if not target.exists():
            created.rename(target)
    return python


def _install(uv: str, folder: Path, requirements: Path) -> None:
    create = [uv, "venv", "--quiet", "--relocatable", "--python", sys.executable, str(folder)]
    python = str(folder / "bin" / "python")
    install = [uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r"]
    for command in (create, [*install, str(requirements)]):
        try:
            subprocess.run(
                command,
                check=True,
                capture_output=True,
                text=True,
                timeout=INSTALL_SECONDS,
                env=os.environ | _trusted_bundle(),
            )
        except subprocess.CalledProcessError as error:
            output = " ".join(error.stderr.split())
            is_unreachable = any(text in output.lower() for text in UNREACHABLE)
            kind = IndexUnreachable if is_unreachable else InvalidInput
            raise kind(output[:LONGEST_REASON] or str(error)) from error
        except (subprocess.TimeoutExpired, OSError) as error:
            raise InvalidInput(str(error)) from error


def _trusted_bundle() -> dict[str, str]:
    """Return the variable with which uv trusts the bundle that the user names, else the system's.

    The system's bundle may hold a private authority that signs the package index.
    """
    named = filter(None, map(os.environ.get, BUNDLE_VARIABLES))
    bundle = Path(next(named, SYSTEM_BUNDLE))
    if bundle.is_dir():
        return {"SSL_CERT_DIR": str(bundle)}
    return {"SSL_CERT_FILE": str(bundle)} if bundle.exists() else {}


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
