"""The distribution `rayon-client` contains all packages of the client."""

import tomllib
from pathlib import Path

CLIENT = Path(__file__).parents[3] / "shared" / "client"


def test_distribution_lists_every_package() -> None:
    project = tomllib.loads((CLIENT / "pyproject.toml").read_text())
    found = [path.parent.relative_to(CLIENT) for path in CLIENT.rglob("__init__.py")]
    assert sorted(project["tool"]["setuptools"]["packages"]) == sorted(
        ".".join(path.parts) for path in found
    )
