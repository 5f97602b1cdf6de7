"""Places in a checkout that count against its structure."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath
from typing import TypeVar

from infra.ci.structure.allowed import LATE_IMPORTS, PICTURES, SEARCHING, is_allowed
from infra.ci.structure.checkout import Checkout, Place, Source
from infra.ci.structure.imports import ImportGraph, read_imports
from infra.ci.structure.syntax import (
    docstrings_beginning,
    late_imports,
    long_functions,
    undocumented,
)

MOST_MODULES = 20
MOST_LINES = 40
RIDDLES = ("What", "Whether", "Who", "How")
CIRCUMSTANCES = ("Where", "When")

CYCLES = "import cycles"
LATE = "late first-party imports"
FLAT = f"flat folders above {MOST_MODULES} modules"
QUESTIONS = f"docstrings: {'/'.join(RIDDLES)} …"
PICTURE = "`picture` in code"

#: Expectation of `--check` by kind of finding.
EXPECTED = {
    CYCLES: "modules that do not import one another",
    LATE: "imports of the project at the top of the module, or a reason in allowed.py",
    FLAT: f"at most {MOST_MODULES} modules in a folder",
    QUESTIONS: "a docstring that begins with a verb or a noun phrase",
    PICTURE: "`image`, or a reason in allowed.py why the older name stays",
}

#: Characters of a line that a list shows.
SHOWN = 110

Findings = dict[str, list[Place]]
Found = TypeVar("Found")


def import_graph(checkout: Checkout) -> ImportGraph:
    """Read the imports between the packages of a checkout."""
    return read_imports(checkout.folder, checkout.roots, checkout.packages)


def findings(checkout: Checkout, graph: ImportGraph) -> Findings:
    """Return the places of each kind of finding, in the order of the table."""
    product = [source for source in checkout.linted if not source.is_test]
    late = _each(checkout.linted, lambda one: late_imports(one, {*checkout.packages, "tests"}))
    pictures = _each(checkout.python, _named_pictures)
    return {
        FLAT: list(_flat_folders(checkout)),
        CYCLES: list(_cycles(checkout, graph)),
        LATE: [place for place in late if not _is_allowed_late(place)],
        "late first-party imports, allowed": list(filter(_is_allowed_late, late)),
        f"functions above {MOST_LINES} lines": _each(
            checkout.linted, lambda one: long_functions(one, MOST_LINES)
        ),
        "public names without a docstring": _each(product, undocumented),
        QUESTIONS: _each(checkout.linted, lambda one: docstrings_beginning(one, RIDDLES)),
        f"docstrings: {'/'.join(CIRCUMSTANCES)} …": _each(
            checkout.linted, lambda one: docstrings_beginning(one, CIRCUMSTANCES)
        ),
        PICTURE: [place for place, allowed in pictures if not allowed],
        "`picture` in code, frozen names": [place for place, allowed in pictures if allowed],
        "`picture` in documents and settings": [
            place for place, _ in _each(checkout.documents, _named_pictures)
        ],
    }


def flat_folders(modules: Iterable[Source]) -> Counter[str]:
    """Count the modules that lie directly in each folder."""
    return Counter(PurePosixPath(one.path).parent.as_posix() for one in modules)


def _flat_folders(checkout: Checkout) -> Iterator[Place]:
    modules = (one for package in checkout.packages for one in checkout.modules(package))
    for folder, count in flat_folders(modules).items():
        if count > MOST_MODULES:
            yield Place(f"{folder}/__init__.py", 1, f"{count} modules")


def _cycles(checkout: Checkout, graph: ImportGraph) -> Iterator[Place]:
    paths = {_module(checkout, source): source.path for source in checkout.python}
    for cycle in graph.cycles:
        module, line = graph.line_of(cycle)
        yield Place(paths[module], line, ", ".join(sorted(cycle)))


def _module(checkout: Checkout, source: Source) -> str:
    """Return the name under which a file is imported."""
    path = PurePosixPath(source.path).with_suffix("")
    if path.name == "__init__":
        path = path.parent
    # The longest root first: `shared/client/rayon` is imported as `rayon`.
    root = next(
        root for root in sorted(checkout.roots, key=len, reverse=True) if path.is_relative_to(root)
    )
    return ".".join(path.relative_to(root).parts)


def _is_allowed_late(place: Place) -> bool:
    return is_allowed(LATE_IMPORTS, place.path, place.text)


def _named_pictures(source: Source) -> Iterator[tuple[Place, bool]]:
    """Yield every occurrence of the word in a file and its name, with True if it is allowed."""
    if re.search(SEARCHING, source.path):
        return
    for number, line in enumerate([source.path, *source.text.splitlines()]):
        for found in re.finditer("picture", line, re.IGNORECASE):
            place = Place(source.path, max(number, 1), line.strip()[:SHOWN])
            yield place, is_allowed(PICTURES, source.path, line, found.start())


def _each(sources: Iterable[Source], find: Callable[[Source], Iterable[Found]]) -> list[Found]:
    return [found for source in sources for found in find(source)]
