"""Files of a checkout, divided as its own `pyproject.toml` divides them."""

import ast
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

_PAGES = (".md", ".html", ".ipynb")
_SETTINGS = (".yml", ".yaml", ".toml", ".sh", "Makefile", "Dockerfile", ".env.example")


@dataclass(frozen=True, order=True)
class Place:
    """A line of a file, and what was found there."""

    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"

    @property
    def is_test(self) -> bool:
        """True for files of `tests/`."""
        return self.path.startswith("tests/")


@dataclass(frozen=True)
class Source:
    """A text file; its path is relative to the checkout."""

    path: str
    text: str

    @property
    def is_test(self) -> bool:
        """True for files of `tests/`."""
        return self.path.startswith("tests/")

    @cached_property
    def tree(self) -> ast.Module:
        """Syntax tree of a Python file."""
        return ast.parse(self.text, self.path)


@dataclass(frozen=True)
class Checkout:
    """A working tree of this project, of any commit.

    Raises:
        subprocess.CalledProcessError: The folder is not in a git repository.
    """

    folder: Path

    @cached_property
    def tools(self) -> dict[str, Any]:
        """Settings of the tools: which packages there are, and which files are not linted."""
        settings = tomllib.loads((self.folder / "pyproject.toml").read_text("utf-8"))
        tools: dict[str, Any] = settings["tool"]
        return tools

    @property
    def roots(self) -> list[str]:
        """Folders that hold packages, relative to the checkout."""
        return list(self.tools["ruff"]["src"])

    @cached_property
    def packages(self) -> dict[str, str]:
        """Folder of each package that import-linter reads."""
        places = (
            (package, PurePosixPath(root, package))
            for package in self.tools["importlinter"]["root_packages"]
            for root in self.roots
        )
        return {
            package: place.as_posix() for package, place in places if (self.folder / place).is_dir()
        }

    @cached_property
    def python(self) -> list[Source]:
        """All Python files."""
        return list(self._sources((".py",)))

    @cached_property
    def documents(self) -> list[Source]:
        """Documents, settings and scripts."""
        return list(self._sources(_PAGES + _SETTINGS))

    @cached_property
    def linted(self) -> list[Source]:
        """Python files without those that ruff excludes, such as finished migrations."""
        excluded = tuple(f"{folder}/" for folder in self.tools["ruff"].get("extend-exclude", ()))
        return [source for source in self.python if not source.path.startswith(excluded)]

    def modules(self, package: str) -> list[Source]:
        """Modules of a package, without `__init__.py` and without packages inside its folder."""
        return [
            source
            for source in self.linted
            if self._package_of(source) == package and not source.path.endswith("__init__.py")
        ]

    def _package_of(self, source: Source) -> str | None:
        # `shared/client/rayon` is a package of its own although `shared` contains its folder.
        holders = [
            (len(folder), package)
            for package, folder in self.packages.items()
            if source.path.startswith(f"{folder}/")
        ]
        return max(holders)[1] if holders else None

    def _sources(self, endings: tuple[str, ...]) -> Iterator[Source]:
        for path in self._paths:
            if path.endswith(endings):
                yield Source(path, (self.folder / path).read_text("utf-8"))

    @cached_property
    def _paths(self) -> list[str]:
        """Files that git tracks or would track, and that are still there."""
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(
            command, cwd=self.folder, capture_output=True, check=True, encoding="utf-8"
        )
        paths = sorted(set(listed.stdout.split("\0")))
        return [path for path in paths if (self.folder / path).is_file()]
