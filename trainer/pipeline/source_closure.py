"""Hashes of the source code that decides a result, from the real import graph.

grimp, the engine of import-linter, reads every `import` statement without running it, so imports
inside functions count too. Modules that are imported by a computed name are not found.
"""

import hashlib
import importlib.util
from collections.abc import Iterable
from pathlib import Path

import grimp

#: Packages whose modules belong to the closure of everything that the trainer computes.
FIRST_PARTY = ("shared", "trainer")
#: Imported by nearly every module without deciding a result: errors end a step, and messages
#: between services never reach one. An edit of either must not repeat hours of training.
NOT_DECIDING = frozenset({"shared.contracts", "shared.errors"})
HASH_DIGITS = 16


class SourceClosure:
    """Source hashes of modules and of all first-party modules that they import.

    The import graph is read once for each set of packages, so one object serves one training run.
    """

    def __init__(self) -> None:
        self._graphs: dict[frozenset[str], grimp.ImportGraph] = {}

    def hashes(self, computed_by: Iterable[object]) -> dict[str, str]:
        """Return the hash of every module in the closure, by module name.

        Args:
            computed_by: Functions, classes or instances that compute the result.
        """
        modules = self.modules(computed_by)
        return {module: _source_hash(module) for module in sorted(modules)}

    def modules(self, computed_by: Iterable[object]) -> frozenset[str]:
        """Return the names of the modules that define the objects, and of all that they import."""
        entries = frozenset(module_of(one) for one in computed_by)
        graph = self._graph(frozenset(name.partition(".")[0] for name in entries))
        imported = {found for entry in entries for found in graph.find_upstream_modules(entry)}
        return frozenset(entries | imported) - NOT_DECIDING

    def _graph(self, roots: frozenset[str]) -> grimp.ImportGraph:
        packages = roots | {*FIRST_PARTY}
        if packages not in self._graphs:
            # Without the cache: it is a folder in the working directory, and the graph takes 20 ms.
            self._graphs[packages] = grimp.build_graph(*sorted(packages), cache_dir=None)
        return self._graphs[packages]


def module_of(computed_by: object) -> str:
    """Return the name of the module that defines a function, a class or an instance's class."""
    named = computed_by if hasattr(computed_by, "__qualname__") else type(computed_by)
    return str(named.__module__)


def _source_hash(module: str) -> str:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ValueError(f"Expected an importable module. Received: {module!r}")
    return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()[:HASH_DIGITS]
