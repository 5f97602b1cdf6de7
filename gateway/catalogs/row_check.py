"""Check a catalog's rows: a row becomes a job, with or without an image, or is rejected."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO
from zipfile import ZipInfo

from gateway.catalogs.image_archive import Archive, Refused
from gateway.catalogs.products import image_name, product_rows
from shared.errors import InvalidInput
from shared.readable import readable
from shared.tables.form import Form
from shared.tables.rows import SHOWN_CHARACTERS, Problem, Row

#: Total length of the column names of a table. As JSON Lines, each row of the results repeats them;
#: for a table of JSON Lines, results as CSV contain the first ones only.
MAX_NAMES_CHARACTERS = 50_000
#: Reason why an image that a row names is not there.
NOT_IN_THE_ARCHIVE = "not in the archive"


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
        name: Name of the row's image; empty if the row names none.
        image: Entry of the row's image in the archive.
        lacks_image: True if the row names an image that the archive lacks; only its text is scored.
        problem: The reason for rejecting the row.
    """

    row: Row
    name: str = ""
    image: ZipInfo | None = None
    lacks_image: bool = False
    problem: Problem | None = None

    @property
    def has_text(self) -> bool:
        """True if a person can read anything in the title or the description."""
        return has_text(self.row)


def checked_rows(
    products: BinaryIO, form: Form, archive: Archive | None, terms: Terms
) -> Iterator[Checked]:
    """Read and check a catalog row by row."""
    return (_check(row, archive, terms) for row in product_rows(products, form))


def _check(row: Row, archive: Archive | None, terms: Terms) -> Checked:
    if row.problem is not None:
        return Checked(row, problem=row.problem)
    name = image_name(row)
    entry = archive.find(name) if archive and name else None
    image = entry if isinstance(entry, ZipInfo) else None
    reason = entry.reason if isinstance(entry, Refused) else NOT_IN_THE_ARCHIVE
    problem = problem_of(row, name, terms, has_image=image is not None, lacking=reason)
    return Checked(row, name, image, bool(archive and name) and image is None, problem)


def problem_of(
    row: Row, name: str, terms: Terms, *, has_image: bool, lacking: str = NOT_IN_THE_ARCHIVE
) -> Problem | None:
    """Return why a row that can be read is rejected; `None` if it is accepted.

    Args:
        row: The row.
        name: Name of its image; empty if it names none.
        terms: Requirements on the row.
        has_image: True if the image is there.
        lacking: The reason why it is not.
    """
    return (
        _too_long(row, terms.max_characters)
        or _no_image(name, has_image, terms, lacking)
        or _no_text(row, name, has_image, terms)
    )


def _too_long(row: Row, limit: int) -> Problem | None:
    for column in ("designation", "description"):
        text = row.get(column)
        if len(text) > limit and (count := len(readable(text))) > limit:
            reason = f"Expected at most {limit} readable characters. Received: {count}"
            return Problem(column, text[:SHOWN_CHARACTERS], reason, "text_too_long")
    return None


def _no_image(name: str, has_image: bool, terms: Terms, reason: str) -> Problem | None:
    if terms.model != "image" or has_image:
        return None
    reason = f"Expected an image: {reason}"
    return Problem("image", name[:SHOWN_CHARACTERS], reason, "image_missing")


def _no_text(row: Row, name: str, has_image: bool, terms: Terms) -> Problem | None:
    if (has_image and terms.model != "text") or has_text(row):
        return None
    if terms.model == "text":
        reason = "Expected a title or a description. Received: neither"
        return Problem("designation", "", reason, "text_missing")
    reason = "Expected a title, a description or an image. Received: none"
    return Problem("designation", name[:SHOWN_CHARACTERS], reason, "nothing_to_classify")


def has_text(row: Row) -> bool:
    """Return True if a person can read anything in the title or the description."""
    return bool(readable(row.get("designation")) or readable(row.get("description")))


def require_short_names(form: Form) -> None:
    """Check the length of a table's column names together. Raises `InvalidInput`."""
    characters = sum(map(len, form.columns))
    if form.kind == "csv" and characters > MAX_NAMES_CHARACTERS:
        raise InvalidInput(
            f"Expected column names of at most {MAX_NAMES_CHARACTERS} characters together. "
            f"Received: {characters}",
            field=("products",),
        )
