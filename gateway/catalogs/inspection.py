"""Check a whole catalog: count and report its rows, and write the rejected ones to a file."""

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TextIO

from gateway.catalogs.image_archive import Archive, Refused
from gateway.catalogs.importing.rejections import Rejections
from gateway.catalogs.products import CHALLENGE_IMAGE, names_images
from gateway.catalogs.row_check import (
    MAX_NAMES_CHARACTERS,
    Checked,
    Terms,
    checked_rows,
    require_short_names,
)
from shared.errors import InvalidInput
from shared.image_names import SCIENTIFIC
from shared.tables.form import MAX_COLUMNS, Form
from shared.tables.rows import Problem, Row
from shared.tables.safe_cells import safe_cell

#: Names that a list of the report holds, and their total length; further ones are only counted.
LISTED = 1_000
LISTED_CHARACTERS = 50_000
#: Characters of a name that a list shows.
NAME_CHARACTERS = 255
#: Unused columns that a report lists.
LISTED_COLUMNS = 100
ENCODINGS = {"cp1252": "Windows-1252", "mac_roman": "Mac OS Roman", "cp850": "code page 850"}
#: First columns of the file of rejected rows; the uploaded columns follow.
ERROR_COLUMNS = ("row", "line", "column", "value", "reason")


@dataclass(frozen=True)
class Finding:
    """Result of checking a whole catalog.

    Attributes:
        header: Digest of the header, if the columns were stated (`Catalog.header`).
    """

    rows: int
    rejected: int
    report: dict[str, Any]
    header: str | None = None


def inspect(
    products: BinaryIO,
    form: Form,
    archive: Archive | None,
    terms: Terms,
    errors: TextIO,
    rejected: Callable[[Checked], object] = lambda _: None,
) -> Finding:
    """Check a whole catalog and write the rejected rows to a CSV file.

    Args:
        products: The table, as plain text.
        form: Form of the table.
        archive: The images; `None` if none were sent.
        terms: Requirements on the rows.
        errors: Receives the rejected rows as CSV.
        rejected: Called with each rejected row.

    Raises:
        InvalidInput: The catalog has no row, or too many.
    """
    table = csv.writer(errors)
    table.writerow([*ERROR_COLUMNS, *map(safe_cell, form.columns)])
    require_short_names(form)
    seen = _Seen(form, archive)
    for found in checked_rows(products, form, archive, terms):
        seen.add(found)
        if seen.rows > terms.max_rows:
            raise InvalidInput(f"Expected at most {terms.max_rows} rows. Received: more")
        if found.problem is not None:
            table.writerow(_error_line(found.row, found.problem, form))
            rejected(found)
    if not seen.rows:
        raise InvalidInput("Expected at least one row below the header. Received: none")
    return Finding(seen.rows, seen.rejected, seen.report())


class _Seen:
    """Counts and names of the rows that were checked.

    Args:
        form: Form of the table.
        archive: The images; `None` if none were sent.
    """

    def __init__(self, form: Form, archive: Archive | None) -> None:
        self._form, self._archive = form, archive
        self._ids = [name for name in CHALLENGE_IMAGE if name in form.fields]
        self._columns = _Columns()
        self._unmatched = _Names()
        self._rejections = Rejections(form)
        self._codes: Counter[str] = Counter()
        self.rows = self.rejected = self._warnings = self._rounded = 0
        self._named = self._without_archive = 0

    def add(self, found: Checked) -> None:
        """Count a row."""
        self.rows += 1
        if found.problem is not None:
            self.rejected += 1
            self._rejections.add(found.row, found.problem)
            self._codes[found.problem.code] += 1
        if found.row.object is not None:
            self._columns.add(found.row.object)
        if found.lacks_image:
            self._warnings += found.problem is None
            self._unmatched.add(found.name)
        if found.name and self._archive is None:
            self._without_archive += 1
            self._named += found.problem is None
        if self._ids and any(SCIENTIFIC.search(found.row.get(name)) for name in self._ids):
            self._rounded += 1

    def report(self) -> dict[str, Any]:
        """Return what is stored of the check."""
        unused = _Names()
        for name in self._archive.unused() if self._archive else ():
            unused.add(name)
        refused = self._archive.refused() if self._archive else []
        return {
            # Empty for CSV, whose header may be long and is read from the file again.
            "columns": list(self._columns.kept),
            "omits_columns": self._columns.omits_some,
            "form": self._form.kept,
            # Rolling back to 0.2 needs these two.
            "delimiter": self._form.delimiter if self._form.dialect else None,
            "has_bom": self._form.has_bom,
            "used_columns": self._form.used,
            "unused_columns": [name[:255] for name in self._form.unused[:LISTED_COLUMNS]],
            "notes": list(self._notes()),
            "rejections": self._rejections.report(),
            "rejected_codes": dict(self._codes),
            # Accepted rows whose images can be added later.
            "named_images": self._named,
            "warnings": self._warnings + self._without_archive,
            "unmatched_images": self._unmatched.listed,
            "unmatched_count": self._unmatched.count,
            "unused_images": unused.listed,
            "unused_count": unused.count,
            "refused_images": _listed(refused),
            "refused_count": len(refused),
        }

    def _notes(self) -> Iterator[str]:
        if not {"designation", "description"} & self._form.fields.keys():
            yield "No column of titles or descriptions was found"
        elif "designation" not in self._form.fields:
            yield "No column of titles was found"
        if self._without_archive:
            yield f"Rows that name an image: {self._without_archive}, but no ZIP archive was sent"
        if self._archive is not None and not names_images(self._form):
            yield "A ZIP archive was sent, but no column names images"
        if self._rounded:
            yield (
                f"Rows with numbers such as 3.80E+09: {self._rounded}. The spreadsheet has dropped "
                "their last digits; format these columns as text and export the table again"
            )
        if self._form.encoding is not None:
            yield f"The table is not in UTF-8; it was read as {ENCODINGS[self._form.encoding]}"


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


def _listed(refused: Sequence[Refused]) -> list[dict[str, str]]:
    """Return the first refused images, with shortened names."""
    names = _Names()
    for image in refused:
        names.add(image.name)
    return [
        {"name": name, "reason": image.reason}
        for name, image in zip(names.listed, refused, strict=False)
    ]


def _error_line(row: Row, problem: Problem, form: Form) -> list[object]:
    cells = [safe_cell(value) for value in row.values_of(form)]
    shown = safe_cell(problem.value)
    column = safe_cell(form.used.get(problem.column or "", problem.column or ""))
    reason = safe_cell(problem.reason)
    return [row.number, row.line, column, shown, reason, *cells]
