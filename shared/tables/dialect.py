"""Detect the dialect of a CSV file: its delimiter, and how it quotes cells."""

import csv
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from shared.errors import InvalidInput
from shared.tables.columns import matched, normalized, shown
from shared.tables.lines import MAX_ROW_BYTES, RowLines, TooLong

DELIMITERS = ",;\t|"
#: Delimiter of a file with one column, whose cells may contain every other delimiter.
NO_DELIMITER = "\x1f"
#: Rows of the beginning of a file by which its dialect is chosen.
SAMPLE_ROWS = 200
_SEPARATOR_LINE = re.compile(r'^\s*"?sep=(.)"?[\s,;]*$', re.IGNORECASE)
_SPACED_QUOTE = re.compile(r'[,;\t|] +"')


@dataclass(frozen=True)
class Dialect:
    r"""The dialect of a CSV file: the separation and quoting of its cells.

    Attributes:
        delimiter: Character between two cells; `NO_DELIMITER` if there is one column.
        has_backslashes: True if quotes inside a quoted cell are written as `\"`.
        has_spaces: True if spaces precede the quotes of a cell.
        is_wrapped: True if each line is one quoted cell that contains the cells of the row.
    """

    delimiter: str
    has_backslashes: bool = False
    has_spaces: bool = False
    is_wrapped: bool = False

    def reader(self, lines: Iterator[str], *, is_strict: bool = False) -> Iterator[list[str]]:
        """Return a reader of the cells of each row.

        Args:
            lines: Lines of the file.
            is_strict: True to raise `csv.Error` for text after a closing quote.
        """
        allow_long_cells()
        delimiter = NO_DELIMITER if self.is_wrapped else self.delimiter
        return csv.reader(
            lines, delimiter=delimiter, skipinitialspace=self.has_spaces, strict=is_strict
        )

    def unwrapped(self, cells: list[str]) -> list[str]:
        """Return the cells of a row whose line may be one quoted cell."""
        return split_line(cells[0], self.delimiter) if self.is_wrapped and cells else cells


def allow_long_cells() -> None:
    """Raise the CSV library's cell limit, which is below our row limit and process-wide."""
    csv.field_size_limit(2 * MAX_ROW_BYTES)


def split_line(line: str, delimiter: str) -> list[str]:
    """Split one line of CSV into cells. Raises `csv.Error`."""
    allow_long_cells()
    return next(csv.reader([line], delimiter=delimiter), [])


def separator_in(line: str) -> str | None:
    """Return the delimiter that a line `sep=;` states, as Excel reads it; `None` for others."""
    found = _SEPARATOR_LINE.match(line)
    return found[1] if found else None


def is_blank(line: str) -> bool:
    """Return True if a line has neither text nor anything but empty cells."""
    return not line.strip(f' "{DELIMITERS}\r\n\ufeff\u200b\u00a0')


def dialect_of(
    lines: Sequence[str], names: Mapping[str, Sequence[str]], stated: str | None, field: str
) -> Dialect:
    """Choose the dialect that reads the beginning of a file best.

    Args:
        lines: First lines of the file, from the header on.
        names: Names of the expected columns by field.
        stated: Delimiter that the file states itself.
        field: The request field that an error names.

    Raises:
        InvalidInput: Two delimiters read the file equally well.
    """
    candidates = [*_candidates(lines, stated)]
    scores = [(_score(lines, one, names), one) for one in candidates]
    best, chosen = max(scores, key=lambda scored: scored[0])
    rivals = {
        one.delimiter
        for score, one in scores
        if score == best and one.is_wrapped == chosen.is_wrapped
    }
    if best[0] and best[-1] > 1 and len(rivals) > 1:
        raise InvalidInput(
            f"Expected one delimiter between the cells. Received: {' and '.join(sorted(rivals))} "
            f"in the header {shown([lines[0].strip()])}; a first line `sep=;` states the right one",
            field=(field,),
        )
    return chosen


def _candidates(lines: Sequence[str], stated: str | None) -> Iterator[Dialect]:
    text = "".join(lines)
    backslashes = (False, True) if '\\"' in text else (False,)
    spaces = (False, True) if _SPACED_QUOTE.search(text) else (False,)
    # First, because a comma in a file of one column belongs to the cell.
    delimiters = [stated] if stated else [NO_DELIMITER, *DELIMITERS]
    for delimiter, has_backslashes, has_spaces in product(delimiters, backslashes, spaces):
        yield Dialect(delimiter, has_backslashes, has_spaces)
        if (
            delimiter != NO_DELIMITER
            and not has_spaces
            and lines[0].lstrip("\ufeff").startswith('"')
        ):
            yield Dialect(delimiter, has_backslashes, is_wrapped=True)


Score = tuple[int, float, int]


def _score(lines: Sequence[str], dialect: Dialect, names: Mapping[str, Sequence[str]]) -> Score:
    """Rank a dialect by known columns, then by regular rows, then by columns."""
    rows = [*sample_rows(lines, dialect)]
    header = rows[0] if rows else None
    if not header or (dialect.is_wrapped and len(header) < 2):
        return 0, 0.0, 0
    width = len(_trimmed(header))
    fits = [_fit(row, width) for row in rows[1:]]
    regular = sum(fits) / len(fits) if fits else 1.0
    known = 0 if _has_outer_delimiter(header) else _known(header, names)
    return known, round(regular, 2), len(header)


def _has_outer_delimiter(header: list[str]) -> bool:
    """Return True if a header of one column begins or ends with a delimiter.

    Its other column has no name, such as the row numbers that pandas writes.
    """
    name = header[0].strip("\ufeff \r\n")
    return len(header) == 1 and name != name.strip(DELIMITERS)


def _known(header: list[str], names: Mapping[str, Sequence[str]]) -> int:
    try:
        return len(matched(header, names))
    except InvalidInput:
        # A column that occurs twice is known; the error is raised when the table is read.
        present: Collection[str] = {normalized(column) for column in header}
        return sum(any(alias in present for alias in aliases) for aliases in names.values())


def _fit(row: list[str] | None, width: int) -> float:
    """Return how well a row fits the header: 1 exactly, 0 not at all."""
    if row is None or len(_trimmed(row)) > width:
        return 0.0
    return 1.0 if len(row) >= width else 0.5


def _trimmed(cells: list[str]) -> list[str]:
    """Return the cells up to the last one that is not blank."""
    end = len(cells)
    while end and not cells[end - 1].strip():
        end -= 1
    return cells[:end]


def sample_rows(lines: Sequence[str], dialect: Dialect) -> Iterator[list[str] | None]:
    """Read the rows of a sample; a row that does not obey the dialect is `None`."""
    source = RowLines(Encoded(lines), has_backslashes=dialect.has_backslashes)
    for _ in range(SAMPLE_ROWS):
        source.begin_row()
        try:
            cells = next(dialect.reader(source, is_strict=True))
        except StopIteration:
            return
        except (csv.Error, TooLong):
            if source.is_cut:
                # The sample ends within a row.
                return
            yield None
            source.give_back()
            continue
        try:
            row = dialect.unwrapped(cells)
        except csv.Error:
            yield None
            continue
        if any(cell.strip() for cell in row):
            yield row


class Encoded:
    """Lines of text as a binary file."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = iter(lines)

    def readline(self, _size: int = -1, /) -> bytes:
        """Read one line."""
        return next(self._lines, "").encode(errors="replace")
