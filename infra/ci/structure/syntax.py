"""Figures from the syntax trees of Python files: functions, docstrings, late imports."""

import ast
import re
from collections.abc import Collection, Iterator, Sequence

from infra.ci.structure.checkout import Place, Source

Function = ast.FunctionDef | ast.AsyncFunctionDef
Import = ast.Import | ast.ImportFrom

#: Definitions with these decorators complete another one, which has the docstring.
COMPLETING = {"overload", "override", "setter", "deleter"}


def functions(source: Source) -> list[Function]:
    """Return all functions and methods, nested ones included."""
    return [node for node in ast.walk(source.tree) if isinstance(node, Function)]


def length(function: Function) -> int:
    """Count the lines from `def` to the end: docstring included, decorators not."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


def long_functions(source: Source, most: int) -> list[Place]:
    """Find functions of more than so many lines."""
    return [
        Place(source.path, one.lineno, f"{one.name}: {length(one)} lines")
        for one in functions(source)
        if length(one) > most
    ]


def late_imports(source: Source, packages: Collection[str]) -> list[Place]:
    """Find imports of the project's own packages inside functions."""
    inside = {
        node
        for function in functions(source)
        for node in ast.walk(function)
        if isinstance(node, Import) and _imports_any(node, packages)
    }
    return sorted(Place(source.path, node.lineno, ast.unparse(node)) for node in inside)


def undocumented(source: Source) -> list[Place]:
    """Find public modules, classes, functions and methods without a docstring."""
    found = [] if ast.get_docstring(source.tree) else [Place(source.path, 1, "the module")]
    return found + [
        Place(source.path, node.lineno, node.name)
        for node in _public(source.tree.body)
        if not ast.get_docstring(node)
    ]


def docstrings_beginning(source: Source, words: Collection[str]) -> list[Place]:
    """Find docstrings whose first word is one of these."""
    opening = re.compile(rf"(?:{'|'.join(words)})\b")
    return [
        Place(source.path, line, docstring.splitlines()[0])
        for line, docstring in _docstrings(source.tree)
        if opening.match(docstring)
    ]


def _imports_any(node: Import, packages: Collection[str]) -> bool:
    if isinstance(node, ast.Import):
        return any(alias.name.partition(".")[0] in packages for alias in node.names)
    return node.level > 0 or (node.module or "").partition(".")[0] in packages


def _public(body: Sequence[ast.stmt]) -> Iterator[ast.ClassDef | Function]:
    for node in body:
        if not isinstance(node, ast.ClassDef | Function):
            continue
        if node.name.startswith("_") or _completes(node):
            continue
        yield node
        if isinstance(node, ast.ClassDef):
            yield from _public(node.body)


def _completes(node: ast.ClassDef | Function) -> bool:
    decorators = {ast.unparse(one).rpartition(".")[2] for one in node.decorator_list}
    return bool(decorators & COMPLETING)


def _docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | Function):
            docstring = ast.get_docstring(node)
            if docstring:
                yield node.body[0].lineno, docstring
