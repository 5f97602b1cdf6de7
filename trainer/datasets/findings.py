"""Findings of a dataset check, worded so that the dataset's owner can fix them."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

#: Number of rows that a finding lists; its `count` covers all of them.
ROWS_NAMED = 10

Severity = Literal["error", "warning"]


class Finding(BaseModel):
    """One kind of problem in a dataset.

    Attributes:
        code: Stable name, such as `missing_pictures`.
        severity: An `error` prevents training; a `warning` does not.
        message: Sentence for a person.
        count: Number of affected rows.
        rows: Numbers or ids of the first affected rows.
    """

    model_config = ConfigDict(frozen=True)

    code: str
    severity: Severity
    message: str
    count: int = 0
    rows: tuple[int | str, ...] = ()


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


class DatasetReport(BaseModel):
    """The result of a check."""

    model_config = ConfigDict(frozen=True)

    rows: int = 0
    classes: int = 0
    #: The alias is the name in stored reports and in the API.
    images: int = Field(default=0, serialization_alias="pictures")
    findings: tuple[Finding, ...] = ()
    #: Rows by the user who labelled them; rows of uploaded files are not listed.
    labels: tuple[LabelShare, ...] = ()

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
        lines = [f"{self.rows} rows, {self.classes} classes, {self.images} images"]
        for finding in sorted(self.findings, key=lambda finding: finding.severity):
            lines.append(f"{finding.severity}: {finding.message}  [{finding.code}]")
            if finding.rows:
                more = " …" if finding.count > len(finding.rows) else ""
                named = ", ".join(str(row) for row in finding.rows)
                lines.append(f"    {finding.count} rows: {named}{more}")
        return lines


def errors_in(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings that prevent training."""
    return [finding for finding in findings if finding.severity == "error"]


def error(code: str, message: str, rows: Sequence[Any] | pd.Index = ()) -> Finding:
    """Create a finding that prevents training."""
    return _finding("error", code, message, rows)


def warning(code: str, message: str, rows: Sequence[Any] | pd.Index = ()) -> Finding:
    """Create a finding that does not prevent training."""
    return _finding("warning", code, message, rows)


def _finding(
    severity: Severity, code: str, message: str, rows: Sequence[Any] | pd.Index
) -> Finding:
    named = tuple(row if isinstance(row, str) else int(row) for row in rows[:ROWS_NAMED])
    return Finding(code=code, severity=severity, message=message, count=len(rows), rows=named)
