"""Installers and the client trust the certificate store of the system, or a bundle of the user.

The package index is a real HTTPS server with tiny wheels. A private authority signs its
certificate; only a system store or a bundle of the test contains that authority.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.embedded.settings import PROJECT
from tests.support.private_authority import (
    Authority,
    PackageIndex,
    run_with_store,
    system_store,
    wheel,
    wheel_name,
)
from tests.unit.client.service import KEY, Running

TINY = "rayon-tiny"
CLIENT = "rayon-client"
BIN = Path(sys.executable).parent
LOCKS = ("run", "dev", "security", "delivery", "bench", "bench-bentoml", "worker_tiny")
STAMPS = (
    ".venv/dev.stamp",
    ".venv-security/stamp",
    ".venv-delivery/stamp",
    ".venv-bench/stamp",
)
ENVIRONMENTS = (".venv", ".venv-security", ".venv-delivery", ".venv-bench", ".venv-bentoml")
#: Replaces a Python whose `venv` takes seconds: it copies one environment, which is made once.
QUICK_PYTHON = """#!/bin/sh
if [ "$1 $2" = "-m venv" ]; then exec cp -r "{made}" "$3"; fi
exec "{python}" "$@"
"""
#: Build backend of the client without setuptools, which returns an existing wheel.
BACKEND = """
import shutil
def build_editable(folder, config=None, metadata=None):
    return shutil.copy("{wheel}", folder).rpartition("/")[2]
"""
PYPROJECT = """
[project]
name = "rayon-client"
version = "1.0"
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
ACCEPTANCE = """
import sys
from pathlib import Path
from trainer.release import environments
environments.PROJECT = Path.cwd()
print(environments.environment("worker_tiny", Path("environments")))
"""
WHOAMI = """
import sys
from rayon import Rayon
with Rayon(sys.argv[1], sys.argv[2], patience_seconds=0) as client:
    print(client.whoami().username)
"""

Outcome = subprocess.CompletedProcess[str]
Run = Callable[..., Outcome]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("authorities")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    """Return the authority that signs the index."""
    return Authority("private", folder / "private")


@pytest.fixture(scope="module")
def other_authority(folder: Path) -> Authority:
    """Return an authority that does not sign the index."""
    return Authority("other", folder / "other")


@pytest.fixture(scope="module")
def trusting(folder: Path, authority: Authority, other_authority: Authority) -> Path:
    """Return a system store with the authority that signs the index."""
    return system_store(folder / "trusting", authority, other_authority)


@pytest.fixture(scope="module")
def distrusting(folder: Path, other_authority: Authority) -> Path:
    """Return a system store without the authority that signs the index."""
    return system_store(folder / "distrusting", other_authority)


@pytest.fixture(scope="module")
def wheels() -> dict[str, bytes]:
    """Return the wheels of a package and of an installer that runs the real `uv`."""
    return {TINY: wheel(TINY), "uv": wheel("uv", {"uv": f'#!/bin/sh\nexec "{BIN / "uv"}" "$@"\n'})}


@pytest.fixture(scope="module")
def index(wheels: dict[str, bytes], authority: Authority) -> Iterator[PackageIndex]:
    with PackageIndex(wheels, authority) as index:
        yield index


@pytest.fixture(scope="module")
def python(folder: Path) -> str:
    """Return a make variable with a Python that creates an environment quickly."""
    made = folder / "made"
    subprocess.run([sys.executable, "-m", "venv", made], check=True)
    python = folder / "python"
    python.write_text(QUICK_PYTHON.format(made=made, python=sys.executable))
    python.chmod(0o755)
    return f"PYTHON={python}"


@pytest.fixture
def project(tmp_path: Path, index: PackageIndex) -> Path:
    """Return a copy of this project with tiny requirements."""
    project = tmp_path / "project"
    (project / "requirements").mkdir(parents=True)
    shutil.copy(PROJECT / "Makefile", project)
    shutil.copy(PROJECT / "requirements" / "overrides.txt", project / "requirements")
    (project / "requirements" / "uv.txt").write_text(index.locks["uv"])
    for name in LOCKS:
        (project / "requirements" / f"{name}.txt").write_text(index.locks[TINY])
    client = project / "shared" / "client"
    client.mkdir(parents=True)
    (client / wheel_name(CLIENT)).write_bytes(wheel(CLIENT))
    (client / "backend.py").write_text(BACKEND.format(wheel=wheel_name(CLIENT)))
    (client / "pyproject.toml").write_text(PYPROJECT)
    return project


@pytest.fixture
def run(project: Path, tmp_path: Path, index: PackageIndex) -> Run:
    """Return a function that runs a command in the project, with the index as the only one."""

    def run(store: Path, *command: str, **more: str) -> Outcome:
        return run_with_store(store, list(command), settings(index, tmp_path) | more, project)

    return run


def settings(index: PackageIndex, home: Path) -> dict[str, str]:
    return {
        "PATH": os.pathsep.join([str(BIN), os.environ["PATH"]]),
        "HOME": str(home),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": index.url,
        "PIP_NO_CACHE_DIR": "1",
        # With `--quiet`, pip prints the reason of a failure only before a retry.
        "PIP_RETRIES": "1",
        "UV_NO_CONFIG": "1",
        "UV_DEFAULT_INDEX": index.url,
        "UV_HTTP_RETRIES": "0",
        "UV_CACHE_DIR": str(home / "cache"),
    }


def is_installed(environment: Path) -> bool:
    return any(environment.glob("lib/python3*/site-packages/rayon_tiny.py"))


def test_make_trusts_an_authority_of_the_system(run: Run, project: Path, trusting: Path) -> None:
    outcome = run(trusting, "make", *STAMPS)
    assert outcome.returncode == 0, outcome.stdout
    assert [name for name in ENVIRONMENTS if not is_installed(project / name)] == []


def test_make_does_not_trust_an_authority_outside_the_store(
    run: Run, python: str, project: Path, distrusting: Path
) -> None:
    outcome = run(distrusting, "make", python, ".venv/run.stamp")
    assert outcome.returncode != 0
    assert "CERTIFICATE_VERIFY_FAILED" in outcome.stdout
    assert not (project / ".venv" / "bin" / "uv").exists()


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"])
def test_make_trusts_the_bundle_of_the_user(
    run: Run, python: str, project: Path, distrusting: Path, authority: Authority, name: str
) -> None:
    outcome = run(distrusting, "make", python, ".venv/run.stamp", **{name: str(authority.bundle)})
    assert outcome.returncode == 0, outcome.stdout
    assert is_installed(project / ".venv")


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"])
def test_bundle_of_the_user_replaces_the_store(
    run: Run, python: str, project: Path, trusting: Path, other_authority: Authority, name: str
) -> None:
    outcome = run(
        trusting, "make", python, ".venv/run.stamp", **{name: str(other_authority.bundle)}
    )
    assert outcome.returncode != 0
    # Since version 24.2, pip trusts the system store in addition to the bundle; uv does not.
    assert "CERTIFICATE_VERIFY_FAILED" in outcome.stdout or "UnknownIssuer" in outcome.stdout
    assert not is_installed(project / ".venv")


def test_bundle_in_the_pip_configuration_takes_precedence_over_the_store(
    run: Run, python: str, project: Path, distrusting: Path, authority: Authority, tmp_path: Path
) -> None:
    configuration = tmp_path / "pip.conf"
    configuration.write_text(f"[global]\ncert = {authority.bundle}\n")
    outcome = run(distrusting, "make", python, ".venv/bin/uv", PIP_CONFIG_FILE=str(configuration))
    assert outcome.returncode == 0, outcome.stdout
    assert (project / ".venv" / "bin" / "uv").exists()


def test_make_works_over_http_without_a_store(
    run: Run, python: str, project: Path, wheels: dict[str, bytes], tmp_path: Path
) -> None:
    empty_store = tmp_path / "empty"
    empty_store.mkdir()
    with PackageIndex(wheels, None) as plain:
        urls = {"PIP_INDEX_URL": plain.url, "UV_DEFAULT_INDEX": plain.url}
        outcome = run(empty_store, "make", python, ".venv/run.stamp", **urls)
    assert outcome.returncode == 0, outcome.stdout
    assert is_installed(project / ".venv")


def test_install_script_of_images_trusts_an_authority_of_the_system(
    run: Run, project: Path, trusting: Path
) -> None:
    script = str(PROJECT / "infra" / "images" / "install.sh")
    lock = str(project / "requirements" / "run.txt")
    outcome = run(trusting, "sh", script, lock, str(project / "image"))
    assert outcome.returncode == 0, outcome.stdout
    assert is_installed(project / "image")


def test_acceptance_test_trusts_an_authority_of_the_system(
    run: Run, project: Path, trusting: Path
) -> None:
    outcome = run(trusting, sys.executable, "-c", ACCEPTANCE, PYTHONPATH=str(PROJECT))
    assert outcome.returncode == 0, outcome.stdout
    assert is_installed(Path(project, outcome.stdout.split()[-1]).parents[1])


def test_client_trusts_an_authority_of_the_system(
    run: Run, trusting: Path, distrusting: Path, authority: Authority, other_authority: Authority
) -> None:
    path = {"PYTHONPATH": str(PROJECT / "shared" / "client")}
    with Running(authority.server) as service:
        whoami = (sys.executable, "-c", WHOAMI, service.url, KEY)
        trusted = run(trusting, *whoami, **path)
        rejected = run(distrusting, *whoami, **path)
        replaced = run(trusting, *whoami, **path, SSL_CERT_FILE=str(other_authority.bundle))
    assert trusted.returncode == 0, trusted.stdout
    assert "CERTIFICATE_VERIFY_FAILED" in rejected.stdout
    assert "CERTIFICATE_VERIFY_FAILED" in replaced.stdout
