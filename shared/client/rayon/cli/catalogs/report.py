"""Report of a catalog: its columns and images, and the rows without a full answer."""

import csv
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from rayon.catalogs import Catalog
from rayon.cli.screen import Screen, duration, percent, place
from rayon.errors import Refused
from rayon.row_messages import RowMessage, read_messages

#: Number of rows, columns or image names to show; the files have all of them.
SHOWN = 5


@dataclass(frozen=True)
class Reasons:
    """Number of rows by status, and the first of each with a reason."""

    counts: Counter[str]
    first: Sequence[RowMessage]

    @classmethod
    def of(cls, messages: Iterable[RowMessage]) -> "Reasons":
        """Count rows, and keep the first of each status."""
        counts: Counter[str] = Counter()
        first = []
        for one in messages:
            counts[one.status] += 1
            if counts[one.status] <= SHOWN:
                first.append(one)
        return cls(counts, first)

    @property
    def degraded(self) -> int:
        """Number of answers that do not use every input."""
        return self.counts["done"]


def reasons_of(catalog: Catalog, results: Path | None, screen: Screen) -> Reasons:
    """Return the reasons of a catalog's rows.

    Args:
        catalog: A final catalog.
        results: JSON Lines file of its results, if there is one already.
        screen: For a note if the service has no results any more.
    """
    if catalog.dry_run:
        # The check has counted the rows that would be answered without their image.
        return Reasons(Counter(done=catalog.warnings), ())
    if catalog.status == "failed":
        return Reasons(Counter(), ())
    try:
        return Reasons.of(read_messages(results) if results else catalog.messages())
    except Refused as error:
        screen.say(f"The reasons of single rows cannot be read: {error}")
        return Reasons(Counter(), ())


def report_check(catalog: Catalog, screen: Screen) -> None:
    """Print the outcome of the check to stderr: columns, notes, and images that do not match."""
    if catalog.used_columns:
        used = (f"{field} = {column!r}" for field, column in catalog.used_columns.items())
        screen.say(f"Columns used: {', '.join(used)}")
    if catalog.unused_columns:
        screen.say(f"Columns only copied to the results: {some(catalog.unused_columns)}")
    for note in catalog.notes:
        screen.say(f"Note: {note}")
    if catalog.warnings and (catalog.unmatched_images or not catalog.notes):
        # Without a ZIP, a note has the same number.
        screen.say(f"Rows whose image is missing, classified by text only: {catalog.warnings:,}")
    for count, what, names in (
        (catalog.unmatched_count, "Missing from the ZIP", catalog.unmatched_images),
        (catalog.unused_count, "In the ZIP but not named by any row", catalog.unused_images),
    ):
        if names:
            screen.say(f"{what}: {some(names, count)}")
    refused = [f"{one.name} ({one.reason})" for one in catalog.refused_images]
    if refused:
        screen.say(f"In the ZIP but not read: {some(refused, catalog.refused_count)}")


def summary(catalog: Catalog, degraded: int) -> str:
    """Return a line with the number of rows by state."""
    counts = catalog.counts
    parts = [f"{counts.rows:,} rows {'checked' if catalog.dry_run else 'in all'}"]
    named = {
        "classified": 0 if catalog.dry_run else counts.done,
        "of them degraded": 0 if catalog.dry_run else degraded,
        "rejected": counts.rejected,
        "failed": counts.failed,
        "cancelled": counts.cancelled,
    }
    parts += [f"{count:,} {what}" for what, count in named.items() if count]
    if catalog.finished_at:
        parts.append(f"in {duration((catalog.finished_at - catalog.created_at).total_seconds())}")
    return f"{catalog.name or catalog.id} {catalog.status}: {', '.join(parts)}"


def report_rows(reasons: Reasons, screen: Screen) -> None:
    """Print the first failed and degraded rows with their reasons."""
    for status, title in (("failed", "Failed"), ("done", "Degraded")):
        first = [one for one in reasons.first if one.status == status]
        if not first:
            continue
        screen.answer(f"{title}:")
        for one in first:
            screen.answer(f"  {place(one.row)}: {one.message}")
        if reasons.counts[status] > len(first):
            more = reasons.counts[status] - len(first)
            screen.answer(f"  and {more:,} more; the results name them in `rayon_message`")


def first_rejected(catalog: Catalog) -> list[str]:
    """Return the first rejected rows with column and reason."""
    with tempfile.TemporaryDirectory() as folder:
        path = catalog.errors(Path(folder) / "errors.csv")
        with path.open(newline="", encoding="utf-8-sig") as file:
            return [_rejection(row) for row in islice(csv.DictReader(file), SHOWN)]


def _rejection(row: Mapping[str, str]) -> str:
    where = ", ".join(filter(None, (place(row.get("row"), row.get("line")), row.get("column"))))
    return f"{where}: {row.get('reason')}"


def excess(catalog: Catalog, degraded: int, most: float) -> str | None:
    """Return a sentence if the share of degraded rows exceeds `most`; otherwise None."""
    rows = catalog.counts.rows - catalog.counts.rejected if catalog.dry_run else catalog.counts.done
    if not degraded or degraded <= most * rows:
        return None
    share = percent(degraded / max(1, rows))
    return f"{degraded:,} of {rows:,} rows ({share}) are degraded, more than {percent(most)}."


def some(names: Sequence[str], count: int | None = None) -> str:
    """Return the first names, and how many more there are."""
    more = (count or len(names)) - min(SHOWN, len(names))
    return ", ".join(name or "(no name)" for name in names[:SHOWN]) + (
        f" and {more:,} more" if more > 0 else ""
    )
