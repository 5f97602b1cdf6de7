"""The tree of a shop's categories: rows by level, and labels that are not at its ends."""

import pandas as pd

from shared.categories import CategorySet, label_key
from trainer.datasets.findings import Finding, Level, warning


def levels_of(codes: pd.Series, categories: CategorySet) -> tuple[Level, ...]:
    """Return the levels of the tree with their smallest and largest nodes; none without a tree.

    Args:
        codes: Code of each row.
        categories: The categories of these codes.
    """
    counts = codes.value_counts()
    nodes: list[dict[tuple[str, ...], int]] = []
    shown: dict[tuple[str, ...], str] = {}
    for category in categories.categories:
        rows = int(counts.get(category.code, 0))
        for depth in range(1, len(category.path) + 1 if rows else 0):
            # Parents may be spelled differently in two labels.
            key = tuple(label_key(part) for part in category.path[:depth])
            shown.setdefault(key, " > ".join(category.path[:depth]))
            if len(nodes) < depth:
                nodes.append({})
            nodes[depth - 1][key] = nodes[depth - 1].get(key, 0) + rows
    return tuple(_level(number, level, shown) for number, level in enumerate(nodes, start=1))


def _level(
    number: int, nodes: dict[tuple[str, ...], int], shown: dict[tuple[str, ...], str]
) -> Level:
    smallest, largest = min(nodes, key=nodes.__getitem__), max(nodes, key=nodes.__getitem__)
    return Level(
        level=number,
        categories=len(nodes),
        smallest=shown[smallest],
        smallest_rows=nodes[smallest],
        largest=shown[largest],
        largest_rows=nodes[largest],
    )


def inner_labels(
    rows: pd.DataFrame, categories: CategorySet, lines: pd.Series | None
) -> list[Finding]:
    """Return a warning about rows whose label is a node with others below it.

    Args:
        rows: Rows with `code`.
        categories: The categories of these codes.
        lines: Lines of the file by row number; `None` for rows of a version.
    """
    keys = {one.code: tuple(label_key(part) for part in one.path) for one in categories.categories}
    parents = {key[:depth] for key in keys.values() for depth in range(1, len(key))}
    inner = [code for code, key in keys.items() if key in parents]
    found = rows.index[rows["code"].isin(inner)]
    if not len(found):
        return []
    names = ", ".join(repr(categories.name(code)) for code in inner[:5])
    text = (
        f"Labels are categories with others below them, so a product may fit both: {names}"
        f"{', …' if len(inner) > 5 else ''}"
    )
    return [warning("inner_labels", text, found, lines)]
