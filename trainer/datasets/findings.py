"""Findings of a dataset check, worded so that the dataset's owner can fix them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

#: Number of rows that a finding lists; its `count` covers all of them.
ROWS_NAMED = 10

Severity = Literal["error", "warning"]
Rows: TypeAlias = "Sequence[Any] | pd.Index"


class Finding(BaseModel):
    """One kind of problem in a dataset.

    Attributes:
        code: Stable name, such as `missing_pictures`.
        severity: An `error` prevents training; a `warning` does not.
        message: Sentence for a person.
        count: Number of affected rows.
        rows: Numbers or ids of the first affected rows.
        lines: Lines of the file, from 1, on which these rows begin; empty for rows of a version.
    """

    model_config = ConfigDict(frozen=True)

    code: str
    severity: Severity
    message: str
    count: int = 0
    rows: tuple[int | str, ...] = ()
    lines: tuple[int, ...] = ()


class LabelShare(BaseModel):
    """Rows of a dataset with labels of one user.

    Attributes:
        user: Username, or the account's id if its name is no longer known.
        share: Share of all rows that were counted.
    """

    model_config = ConfigDict(frozen=True)

    user: str
    user_id: str
    rows: int
    share: float


class Level(BaseModel):
    """Categories of one level of a tree.

    Attributes:
        level: Number of the level, from 1 at the root.
        categories: Number of categories of the level that have rows, themselves or below them.
        smallest: Path of the category with the fewest rows.
        largest: Path of the category with the most rows.
    """

    model_config = ConfigDict(frozen=True)

    level: int
    categories: int
    smallest: str
    smallest_rows: int
    largest: str
    largest_rows: int


class Counted(BaseModel):
    """Rows that were checked, and their findings."""

    model_config = ConfigDict(frozen=True)

    rows: int = 0
    classes: int = 0
    #: The alias is the name in stored reports and in the API.
    images: int = Field(default=0, serialization_alias="pictures")
    findings: tuple[Finding, ...] = ()


class DatasetReport(Counted):
    """The result of a check.

    Attributes:
        labels: Rows by the user who labelled them; rows of uploaded files are not listed.
        separator: Separator of paths in the names of categories; empty without a tree.
        levels: Levels of the tree, from the root; none without a tree.
        added: The uploaded file of a version that is based on an earlier one; `findings` then
            describe the version.
    """

    labels: tuple[LabelShare, ...] = ()
    separator: str = ""
    levels: tuple[Level, ...] = ()
    added: Counted | None = None

    @property
    def is_trainable(self) -> bool:
        """True if there is no error."""
        return not self.errors

    @property
    def errors(self) -> list[Finding]:
        """Findings that prevent training."""
        return errors_in(self.findings)

    def lines(self) -> list[str]:
        """Return the report as lines of text, errors first."""
        lines = [_counts(self)]
        lines += [
            f"    level {one.level}: {one.categories} categories, from {one.smallest!r} with "
            f"{one.smallest_rows} rows to {one.largest!r} with {one.largest_rows}"
            for one in self.levels
        ]
        lines += _lines(self.findings)
        if self.added is not None:
            lines.append(f"The added file: {_counts(self.added)}")
            lines += _lines(self.added.findings)
        return lines


def _counts(counted: Counted) -> str:
    return f"{counted.rows} rows, {counted.classes} classes, {counted.images} images"


def _lines(findings: Iterable[Finding]) -> list[str]:
    lines = []
    for finding in sorted(findings, key=lambda finding: finding.severity):
        lines.append(f"{finding.severity}: {finding.message}  [{finding.code}]")
        if finding.rows:
            more = " …" if finding.count > len(finding.rows) else ""
            named = ", ".join(map(str, finding.rows))
            if finding.lines:
                at = ", ".join(map(str, finding.lines))
                named = f"lines {at}{more} (rows {named}{more})"
            else:
                named = f"{named}{more}"
            lines.append(f"    {finding.count} rows: {named}")
    return lines


def errors_in(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings that prevent training."""
    return [finding for finding in findings if finding.severity == "error"]


def error(
    code: str, message: str, rows: Rows = (), lines: Mapping[Any, int] | pd.Series | None = None
) -> Finding:
    """Create a finding that prevents training; `lines` are those of the file by row number."""
    return _finding("error", code, message, rows, lines)


def warning(
    code: str, message: str, rows: Rows = (), lines: Mapping[Any, int] | pd.Series | None = None
) -> Finding:
    """Create a finding that does not prevent training; `lines` as for `error`."""
    return _finding("warning", code, message, rows, lines)


def _finding(
    severity: Severity,
    code: str,
    message: str,
    rows: Rows,
    lines: Mapping[Any, int] | pd.Series | None,
) -> Finding:
    first = rows[:ROWS_NAMED]
    return Finding(
        code=code,
        severity=severity,
        message=message,
        count=len(rows),
        rows=tuple(row if isinstance(row, str) else int(row) for row in first),
        lines=() if lines is None else tuple(int(lines[row]) for row in first),
    )
