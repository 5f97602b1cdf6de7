"""Each service's requirements are enough for its own code: its image has nothing else."""

import ast
import re
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
SERVICES = ("gateway", "worker_text", "worker_image", "worker_fusion", "trainer")
#: The project's own packages.
OWN = {*SERVICES, "shared", "infra", "tests"}


def locked(service: str) -> set[str]:
    """Names of the packages that a service is installed with."""
    lines = (PROJECT / "requirements" / f"{service}.txt").read_text().splitlines()
    return {found[1].lower() for line in lines if (found := re.match(r"([\w.-]+)==", line))}


@cache
def installed() -> Mapping[str, list[str]]:
    """Packages that bring each top-level name."""
    return packages_distributions()


def imported(service: str) -> set[str]:
    """Top-level names that a service's modules import, anywhere in them."""
    found: set[str] = set()
    for path in (PROJECT / service).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found - OWN - set(sys.stdlib_module_names)


@pytest.mark.parametrize("service", SERVICES)
def test_imports_of_a_service_are_among_its_requirements(service: str) -> None:
    there, providers = locked(service), installed()
    for name in imported(service):
        # The same package may have several builds, such as TensorFlow with and without a GPU.
        names = {one.lower().replace("_", "-") for one in providers[name]}
        assert names & there, f"{service} imports {name}, which none of its requirements brings"


def test_trainer_brings_the_installer_of_the_package_test() -> None:
    assert "uv" in locked("trainer")


def test_one_version_of_the_installer_serves_all() -> None:
    lines = {
        line
        for name in ("uv", "dev", "run", "trainer")
        for line in (PROJECT / "requirements" / f"{name}.txt").read_text().splitlines()
        if line.startswith("uv==")
    }
    assert len(lines) == 1
