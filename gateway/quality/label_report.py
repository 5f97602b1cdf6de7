"""The report of a label file: its rows by outcome, and the reasons of the rejected ones."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.tables.rows import SHOWN_CHARACTERS, Row

#: Problems that a report lists; further ones are only counted.
LISTED = 1_000


@dataclass(frozen=True)
class LabelProblem:
    """The reason for rejecting a row of a label file."""

    row: int
    line: int
    column: str | None
    value: str
    reason: str


@dataclass(frozen=True)
class NewCategory:
    """A code of a label file that the release does not have."""

    prdtypecode: int
    rows: int


@dataclass
class LabelReport:
    """Number of rows of a label file by outcome, and the first problems.

    Attributes:
        rows: Rows of the file.
        taken: Rows whose label was saved or was known already.
        skipped: Rows without a code, which nobody has labelled yet.
        rejected: Rows with a problem.
        problems: The first problems.
    """

    rows: int = 0
    taken: int = 0
    skipped: int = 0
    rejected: int = 0
    problems: list[LabelProblem] = field(default_factory=list)
    _new: Counter[int] = field(default_factory=Counter)

    @property
    def new_categories(self) -> Sequence[NewCategory]:
        """The first codes that the release does not have, rarest first: an error is rare."""
        found = sorted(self._new.items(), key=lambda one: (one[1], one[0]))
        return [NewCategory(code, rows) for code, rows in found]

    def count_new(self, code: int) -> None:
        """Count a row with a code that the release does not have."""
        if code in self._new or len(self._new) < LISTED:
            self._new[code] += 1

    def reject(self, row: Row, column: str | None, value: str, reason: str) -> None:
        """Record the reason for rejecting a row."""
        self.rejected += 1
        if len(self.problems) < LISTED:
            cut = value[:SHOWN_CHARACTERS]
            self.problems.append(LabelProblem(row.number, row.line, column, cut, reason))
