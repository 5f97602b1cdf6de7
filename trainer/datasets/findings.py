"""What is wrong with a dataset, said so that its owner can mend it."""

from collections.abc import Sequence
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict

#: Row numbers that a finding names; the count says how many there are.
ROWS_NAMED = 10

Severity = Literal["error", "warning"]


class Finding(BaseModel):
    """One kind of fault.

    Attributes:
        code: Stable name, such as `missing_pictures`.
        severity: With an `error` nothing can be trained; with a `warning` it goes on without.
        message: A sentence.
        count: How many rows it concerns.
        rows: The first of them, by the number that the file gives them.
    """

    model_config = ConfigDict(frozen=True)

    code: str
    severity: Severity
    message: str
    count: int = 0
    rows: tuple[int | str, ...] = ()


class DatasetReport(BaseModel):
    """The result of a check."""

    model_config = ConfigDict(frozen=True)

    rows: int = 0
    classes: int = 0
    images: int = 0
    findings: tuple[Finding, ...] = ()

    @property
    def is_trainable(self) -> bool:
        """Whether there is no error."""
        return not self.errors

    @property
    def errors(self) -> list[Finding]:
        """Findings that make training impossible."""
        return [finding for finding in self.findings if finding.severity == "error"]

    def lines(self) -> list[str]:
        """The report for a person, errors first."""
        found = [f"{self.rows} rows, {self.classes} classes, {self.images} images"]
        for finding in sorted(self.findings, key=lambda one: one.severity):
            found.append(f"{finding.severity}: {finding.message}  [{finding.code}]")
            if finding.rows:
                more = " …" if finding.count > len(finding.rows) else ""
                named = ", ".join(str(row) for row in finding.rows)
                found.append(f"    {finding.count} rows: {named}{more}")
        return found


def error(code: str, message: str, rows: Sequence[Any] | pd.Index = ()) -> Finding:
    """Make a finding that forbids training."""
    return _finding("error", code, message, rows)


def warning(code: str, message: str, rows: Sequence[Any] | pd.Index = ()) -> Finding:
    """Make a finding that training goes on without."""
    return _finding("warning", code, message, rows)


def _finding(
    severity: Severity, code: str, message: str, rows: Sequence[Any] | pd.Index
) -> Finding:
    named = tuple(row if isinstance(row, str) else int(row) for row in rows[:ROWS_NAMED])
    return Finding(code=code, severity=severity, message=message, count=len(rows), rows=named)
