"""Check a catalog's rows: a row becomes a job, with or without an image, or is rejected."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TextIO
from zipfile import ZipInfo

from gateway.catalogs.image_archive import Archive, Refused
from gateway.catalogs.safe_cells import safe_cell
from gateway.catalogs.tables.product_file import SHOWN_CHARACTERS, Problem, Row, rows_of
from gateway.catalogs.tables.table_format import MAX_COLUMNS, Form, form_of
from shared.errors import InvalidInput

#: Names that a list of the report holds, and their total length; further ones are only counted.
LISTED = 1_000
LISTED_CHARACTERS = 50_000
#: Characters of a name that a list shows.
NAME_CHARACTERS = 255
#: Total length of the column names of a table. As JSON Lines, each row of the results repeats them;
#: for a table of JSON Lines, results as CSV contain the first ones only.
MAX_NAMES_CHARACTERS = 50_000
#: First columns of the file of rejected rows; the uploaded columns follow.
ERROR_COLUMNS = ("row", "line", "column", "value", "reason")


@dataclass(frozen=True)
class Terms:
    """Requirements on the rows of a catalog.

    Attributes:
        model: `fusion`, `text` or `image`.
        max_characters: Longest title, and longest description.
        max_rows: Most rows of a catalog.
    """

    model: str
    max_characters: int
    max_rows: int


@dataclass(frozen=True)
class Checked:
    """A row and the outcome of its check.

    Attributes:
        row: The row.
        image: Entry of the row's image in the archive.
        lacks_image: True if the row names an image that the archive lacks; only its text is scored.
        problem: The reason for rejecting the row.
    """

    row: Row
    image: ZipInfo | None = None
    lacks_image: bool = False
    problem: Problem | None = None

    @property
    def has_text(self) -> bool:
        """True if the title or the description is not blank."""
        return bool(self.row.designation.strip() or self.row.description.strip())


@dataclass
class _Names:
    """Count names and list the first ones, in order of appearance."""

    listed: list[str] = field(default_factory=list)
    count: int = 0
    characters: int = 0

    def add(self, name: str) -> None:
        self.count += 1
        shown = name[:NAME_CHARACTERS]
        if len(self.listed) < LISTED and self.characters + len(shown) <= LISTED_CHARACTERS:
            self.characters += len(shown)
            self.listed.append(shown)


class _Columns:
    """Collect the keys of JSON Lines that become columns of results as CSV, in order."""

    def __init__(self) -> None:
        self.kept: dict[str, None] = {}
        self.omits_some = False
        self._characters = 0

    def add(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.kept:
                self._add(name)

    def _add(self, name: str) -> None:
        self._characters += len(name)
        if len(self.kept) < MAX_COLUMNS and self._characters <= MAX_NAMES_CHARACTERS:
            self.kept[name] = None
        else:
            self.omits_some = True


@dataclass(frozen=True)
class Finding:
    """Result of checking a whole catalog."""

    rows: int
    rejected: int
    report: dict[str, Any]


def checked_rows(
    products: BinaryIO, form: Form, archive: Archive | None, terms: Terms
) -> Iterator[Checked]:
    """Read and check a catalog row by row."""
    return (_check(row, archive, terms) for row in rows_of(products, form))


def inspect(products: BinaryIO, archive: Archive | None, terms: Terms, errors: TextIO) -> Finding:
    """Check a whole catalog and write the rejected rows to a CSV file.

    Raises:
        InvalidInput: The catalog has no row, or too many.
    """
    form = form_of(products)
    require_short_names(form)
    columns = _Columns()
    table = csv.writer(errors)
    table.writerow([*ERROR_COLUMNS, *map(safe_cell, form.columns)])
    rows = rejected = warnings = 0
    unmatched = _Names()
    for found in checked_rows(products, form, archive, terms):
        rows += 1
        if rows > terms.max_rows:
            raise InvalidInput(f"Expected at most {terms.max_rows} rows. Received: more")
        if form.kind == "jsonl":
            columns.add(found.row.cells)
        if found.problem is not None:
            rejected += 1
            table.writerow(_error_line(found, form))
        if found.lacks_image:
            warnings += found.problem is None
            unmatched.add(found.row.image)
    if not rows:
        raise InvalidInput("Expected at least one row below the header. Received: none")
    return Finding(rows, rejected, _report(form, columns, warnings, unmatched, archive))


def _report(
    form: Form,
    columns: _Columns,
    warnings: int,
    unmatched: _Names,
    archive: Archive | None,
) -> dict[str, Any]:
    unused = _Names()
    for name in archive.unused() if archive else ():
        unused.add(name)
    refused = archive.refused() if archive else []
    return {
        # Empty for CSV, whose header may be long and is read from the file again.
        "columns": list(columns.kept),
        "omits_columns": columns.omits_some,
        "delimiter": form.delimiter,
        "has_bom": form.has_bom,
        "warnings": warnings,
        "unmatched_images": unmatched.listed,
        "unmatched_count": unmatched.count,
        "unused_images": unused.listed,
        "unused_count": unused.count,
        "refused_images": _listed(refused),
        "refused_count": len(refused),
    }


def _check(row: Row, archive: Archive | None, terms: Terms) -> Checked:
    if row.problem is not None:
        return Checked(row, problem=row.problem)
    entry = archive.find(row.image) if archive and row.image else None
    lacks = bool(archive and row.image) and not isinstance(entry, ZipInfo)
    found = Checked(row, entry if isinstance(entry, ZipInfo) else None, lacks)
    reason = entry.reason if isinstance(entry, Refused) else "not in the archive"
    return Checked(row, found.image, lacks, _problem(found, terms, reason))


def _problem(found: Checked, terms: Terms, reason: str) -> Problem | None:
    row = found.row
    for column, text in (("designation", row.designation), ("description", row.description)):
        if len(text) > terms.max_characters:
            return Problem(
                column,
                text[:SHOWN_CHARACTERS],
                f"Expected at most {terms.max_characters} characters. Received: {len(text)}",
            )
    if terms.model == "image" and found.image is None:
        return Problem("image", row.image[:SHOWN_CHARACTERS], f"Expected an image: {reason}")
    if terms.model == "text" and not found.has_text:
        return Problem("designation", "", "Expected a title or a description. Received: neither")
    if not found.has_text and found.image is None:
        return Problem(
            "designation",
            row.image[:SHOWN_CHARACTERS],
            "Expected a title, a description or an image. Received: none",
        )
    return None


def require_short_names(form: Form) -> None:
    """Check the length of a table's column names together. Raises `InvalidInput`."""
    characters = sum(map(len, form.columns))
    if form.kind == "csv" and characters > MAX_NAMES_CHARACTERS:
        raise InvalidInput(
            f"Expected column names of at most {MAX_NAMES_CHARACTERS} characters together. "
            f"Received: {characters}",
            field=("products",),
        )


def _listed(refused: Sequence[Refused]) -> list[dict[str, str]]:
    """Return the first refused images, with shortened names."""
    names = _Names()
    for image in refused:
        names.add(image.name)
    return [
        {"name": name, "reason": image.reason}
        for name, image in zip(names.listed, refused, strict=False)
    ]


def _error_line(found: Checked, form: Form) -> list[object]:
    row, problem = found.row, found.problem or Problem(None, "", "")
    cells = [safe_cell(value) for value in row.values_of(form)]
    shown = safe_cell(problem.value)
    column, reason = safe_cell(problem.column or ""), safe_cell(problem.reason)
    return [row.number, row.line, column, shown, reason, *cells]
