"""Import graph of a checkout: areas, cycles and chains.

grimp, the engine of import-linter, reads the imports, those inside functions included. It finds
packages on Python's path, where this process already has the packages of its own checkout; so the
graph is read in a process of its own, which runs this file as a script.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from graphlib import TopologicalSorter
from pathlib import Path

import grimp

#: Modules that import one another, directly or not; one module where there is no cycle.
Component = frozenset[str]
Edge = tuple[str, str]


@dataclass(frozen=True)
class ImportGraph:
    """Imports between modules.

    Attributes:
        modules: Names of the modules.
        imports: Line of each import, by importing and imported module.
    """

    modules: frozenset[str]
    imports: dict[Edge, int]

    def of(self, package: str) -> "ImportGraph":
        """Return the graph inside one package."""
        inside = frozenset(name for name in self.modules if _root(name) == package)
        return ImportGraph(
            inside, {e: at for e, at in self.imports.items() if inside.issuperset(e)}
        )

    @cached_property
    def imported(self) -> dict[str, set[str]]:
        """Modules that each module imports directly."""
        found: dict[str, set[str]] = {name: set() for name in self.modules}
        for importer, imported in self.imports:
            found[importer].add(imported)
        return found

    @cached_property
    def components(self) -> dict[str, Component]:
        """Strongly connected component of each module."""
        reached = {name: self._reached(name) for name in self.modules}
        return {
            name: frozenset({name, *(one for one in reached[name] if name in reached[one])})
            for name in self.modules
        }

    @property
    def cycles(self) -> list[Component]:
        """Components of more than one module."""
        return sorted((one for one in set(self.components.values()) if len(one) > 1), key=min)

    @property
    def longest_chain(self) -> list[Component]:
        """Components of the longest path of imports, the imported one before its importer."""
        needs: dict[Component, set[Component]] = {one: set() for one in self.components.values()}
        for edge in self.imports:
            importer, imported = (self.components[name] for name in edge)
            needs[importer] |= {imported} - {importer}
        chains: dict[Component, list[Component]] = {}
        for one in TopologicalSorter(needs).static_order():
            chains[one] = [*max((chains[need] for need in needs[one]), key=len, default=[]), one]
        return max(chains.values(), key=len, default=[])

    @property
    def areas(self) -> set[str]:
        """Areas of a package: its root modules and first-level packages."""
        return {_area(name) for name in self.modules}

    @property
    def crossing(self) -> set[Edge]:
        """Imports from one area of a package to another."""
        return {edge for edge in self.imports if _area(edge[0]) != _area(edge[1])}

    @property
    def arrows(self) -> set[Edge]:
        """Pairs of areas of which the first imports the second."""
        return {(_area(importer), _area(imported)) for importer, imported in self.crossing}

    def line_of(self, cycle: Component) -> tuple[str, int]:
        """Return a module of a cycle, and the line of its import of another one."""
        return min(
            (importer, at)
            for (importer, imported), at in self.imports.items()
            if importer in cycle and imported in cycle
        )

    def _reached(self, start: str) -> set[str]:
        reached: set[str] = set()
        ahead = [start]
        while ahead:
            fresh = self.imported[ahead.pop()] - reached
            reached |= fresh
            ahead.extend(fresh)
        return reached


def read_imports(folder: Path, roots: Iterable[str], packages: Iterable[str]) -> ImportGraph:
    """Read the imports of a checkout's packages.

    Args:
        folder: The checkout.
        roots: Folders in it that hold packages.
        packages: Names of the packages.
    """
    path = os.pathsep.join(str((folder / root).resolve()) for root in roots)
    # -P: the folder of this script does not belong on the path of the process.
    command = [sys.executable, "-P", __file__, *packages]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.PIPE, check=True
    )
    modules, imports = json.loads(done.stdout)
    return ImportGraph(frozenset(modules), {(one, other): at for one, other, at in imports})


def _print_imports(packages: list[str]) -> None:
    graph = grimp.build_graph(packages[0], *packages[1:], cache_dir=None)
    imports = [
        (importer, imported, _line(graph, importer, imported))
        for importer in graph.modules
        for imported in graph.find_modules_directly_imported_by(importer)
    ]
    json.dump((sorted(graph.modules), sorted(imports)), sys.stdout)


def _line(graph: grimp.ImportGraph, importer: str, imported: str) -> int:
    details = graph.get_import_details(importer=importer, imported=imported)
    return min(one["line_number"] for one in details)


def _root(module: str) -> str:
    return module.partition(".")[0]


def _area(module: str) -> str:
    return ".".join(module.split(".")[:2])


if __name__ == "__main__":
    _print_imports(sys.argv[1:])
