"""Tables of the figures of one checkout, or of several side by side."""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import PurePosixPath

from infra.ci.structure.checkout import Checkout, Place, Source
from infra.ci.structure.duplicates import LEAST_LINES, duplicates
from infra.ci.structure.findings import (
    MOST_LINES,
    Findings,
    findings,
    flat_folders,
    import_graph,
)
from infra.ci.structure.imports import ImportGraph
from infra.ci.structure.syntax import functions, length

#: Cells of a line by the name of the line.
Table = dict[str, Sequence[str]]

PACKAGE_COLUMNS = ("modules", "largest folder", "areas", "edges", "arrows", "longest chain")
TOTAL_COLUMNS = ("product", "tests")
#: Columns are this far apart.
GAP = "   "
NOTHING = "–"


@dataclass(frozen=True)
class Figures:
    """Everything that is measured in a checkout; the duplicates take half a minute."""

    checkout: Checkout

    @cached_property
    def graph(self) -> ImportGraph:
        """Imports between the packages."""
        return import_graph(self.checkout)

    @cached_property
    def found(self) -> Findings:
        """Places by kind of finding."""
        return findings(self.checkout, self.graph)

    @cached_property
    def parts(self) -> list[list[Source]]:
        """Linted files of the product, and of the tests."""
        linted = self.checkout.linted
        return [[one for one in linted if one.is_test is is_test] for is_test in (False, True)]

    @cached_property
    def duplicates(self) -> list[tuple[int, str]]:
        """Number and list of duplicated lines of each part."""
        with ThreadPoolExecutor() as pool:
            return list(pool.map(lambda part: duplicates(self.checkout.folder, part), self.parts))


def package_table(figures: Figures) -> Table:
    """Return size and imports of each package.

    Edges are pairs of modules in different areas of which the first imports the second, and arrows
    such pairs of areas; an area is a first-level package or a root module. A chain is counted in
    modules.
    """
    return {package: _package(figures, package) for package in figures.checkout.packages}


def total_table(figures: Figures) -> Table:
    """Return the figures of functions, the number of findings of each kind, and duplicates."""
    lengths = [
        sorted(length(one) for source in part for one in functions(source))
        for part in figures.parts
    ]
    return {
        "functions": [str(len(part)) for part in lengths],
        "function lines, docstring included: median": [_quantile(part, 0.5) for part in lengths],
        "  90th percentile": [_quantile(part, 0.9) for part in lengths],
        "  longest": [_quantile(part, 1) for part in lengths],
        f"  share above {MOST_LINES}, %": [_share_above(part) for part in lengths],
        **{name: _split(places) for name, places in figures.found.items()},
        f"duplicated lines, in blocks of {LEAST_LINES} or more": [
            str(number) for number, _ in figures.duplicates
        ],
    }


def compared(tables: Sequence[Table]) -> Table:
    """Return one table whose cells hold the value of every table, in their order."""
    names = dict.fromkeys(name for table in tables for name in table)
    rows = {name: [table.get(name, ()) for table in tables] for name in names}
    return {
        name: [" → ".join(cells) for cells in zip_longest(*row, fillvalue=NOTHING)]
        for name, row in rows.items()
    }


def aligned(title: str, columns: Sequence[str], table: Table) -> str:
    """Lay a table out for a terminal: names on the left, figures on the right."""
    lines = [(title, *columns), *((name, *cells) for name, cells in table.items())]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        GAP.join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
        for line in lines
    )


def _package(figures: Figures, package: str) -> list[str]:
    graph, modules = figures.graph.of(package), figures.checkout.modules(package)
    numbers = (graph.areas, graph.crossing, graph.arrows, graph.longest_chain)
    largest = _largest_folder(modules, figures.checkout.packages[package])
    return [str(len(modules)), largest, *(str(len(one)) for one in numbers)]


def _largest_folder(modules: Sequence[Source], root: str) -> str:
    folders = flat_folders(modules)
    if not folders:
        return NOTHING
    [(folder, count)] = folders.most_common(1)
    inside = PurePosixPath(folder).relative_to(root).as_posix()
    return str(count) if inside == "." else f"{count} {inside}"


def _split(places: Sequence[Place]) -> list[str]:
    tests = sum(place.is_test for place in places)
    return [str(len(places) - tests), str(tests)]


def _quantile(lengths: Sequence[int], share: float) -> str:
    return str(lengths[math.ceil(share * len(lengths)) - 1]) if lengths else NOTHING


def _share_above(lengths: Sequence[int]) -> str:
    above = sum(one > MOST_LINES for one in lengths)
    return f"{100 * above / len(lengths):.1f}" if lengths else NOTHING
