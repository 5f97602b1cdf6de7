"""The report of a label file: its rows by outcome, and the reasons of the rejected ones."""

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

    def reject(self, row: Row, column: str | None, value: str, reason: str) -> None:
        """Record the reason for rejecting a row."""
        self.rejected += 1
        if len(self.problems) < LISTED:
            cut = value[:SHOWN_CHARACTERS]
            self.problems.append(LabelProblem(row.number, row.line, column, cut, reason))
