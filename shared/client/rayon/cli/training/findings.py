"""Report of the check of a dataset: counts and findings, each with the lines of the file."""

from collections.abc import Sequence

from rayon.cli.screen import Screen
from rayon.datasets import DatasetVersion, Finding

#: Lines or rows of a finding to show.
SHOWN = 10


def report_version(version: DatasetVersion, screen: Screen) -> None:
    """Print the outcome of the check of a version, and the next command."""
    screen.answer(f"{version.reference} is {version.status}: {_counts(version)}")
    if version.message:
        screen.answer(version.message)
    _report_findings("", version.findings, screen)
    _report_findings("In the added file:", version.added_findings, screen)
    if version.status == "ready":
        screen.answer(f"To train on it: rayon train --dataset {version.name} --follow")


def _counts(version: DatasetVersion) -> str:
    if version.rows is None:
        return "not read"
    counts = ((version.rows, "rows"), (version.classes, "categories"), (version.images, "images"))
    return ", ".join(f"{count or 0:,} {what}" for count, what in counts)


def _report_findings(title: str, findings: Sequence[Finding], screen: Screen) -> None:
    if not findings:
        return
    if title:
        screen.answer(title)
    for one in findings:
        screen.answer(f"{one.severity}: {one.message}  [{one.code}]")
        if places := _places(one):
            screen.answer(f"  {places}")


def _places(finding: Finding) -> str:
    """Return where a finding is: the lines of the file, or else the rows."""
    what, named = ("line", finding.lines) if finding.lines else ("row", finding.rows)
    if not named:
        return ""
    shown = ", ".join(map(str, named[:SHOWN]))
    count = max(finding.count, len(named))
    more = f" and {count - len(named[:SHOWN]):,} more" if count > len(named[:SHOWN]) else ""
    return f"{what}{'s' if count > 1 else ''} {shown}{more}"
