"""Commands `rayon catalog` and `rayon catalogs`.

A catalog runs on the service independently of the command, so waiting can be stopped and resumed.
"""

import csv
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

from typer import Argument, BadParameter, Exit, Option

from rayon.answers import ModelName
from rayon.catalogs import Catalog
from rayon.cli.bars import progress_shown
from rayon.cli.exits import DONE, INCOMPLETE
from rayon.cli.options import AsJson, Model, ReleaseName, Url, connected
from rayon.cli.screen import Screen, duration
from rayon.client import Rayon
from rayon.errors import RayonError

#: Number of rejected rows or image names to show; the files have all of them.
SHOWN = 5


@dataclass(frozen=True)
class Wanted:
    """Destinations of a catalog's results, and the options to repeat in a printed command."""

    out: Path | None
    errors: Path | None
    as_json: bool
    url: str | None

    def command(self, catalog: Catalog, *more: str) -> str:
        """Return the command that resumes a catalog."""
        words = ["rayon", "catalog", "--resume", catalog.id, *more]
        words += ["--out", str(self.out)] if self.out else []
        words += ["--errors", str(self.errors)] if self.errors else []
        words += ["--json"] if self.as_json else []
        words += ["--url", self.url] if self.url else []
        return shlex.join(words)


def catalog(
    products: Annotated[
        Path | None,
        Argument(
            exists=True, dir_okay=False, readable=True, help="Products as CSV, TSV or JSON Lines."
        ),
    ] = None,
    images: Annotated[
        Path | None,
        Option(
            "--images", exists=True, dir_okay=False, readable=True, help="ZIP file with the images."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        Option("--out", "-o", dir_okay=False, help="Write the answers to this CSV file."),
    ] = None,
    errors: Annotated[
        Path | None,
        Option("--errors", dir_okay=False, help="Write the rejected rows to this CSV file."),
    ] = None,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Check the rows without classifying.")
    ] = False,
    model: Model = "fusion",
    release: ReleaseName = "champion",
    resume: Annotated[
        str | None, Option("--resume", metavar="ID", help="Wait for this catalog.")
    ] = None,
    retry: Annotated[
        bool, Option("--retry", help="With --resume: classify the failed rows again.")
    ] = False,
    again: Annotated[
        bool, Option("--again", help="Create a new catalog even if the files were sent before.")
    ] = False,
    no_wait: Annotated[bool, Option("--no-wait", help="Send the files and exit.")] = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Classify many products: upload a file, watch the progress, download the answers.

    Columns: designation, description, image; or those of the Rakuten challenge. Ctrl-C stops
    waiting but does not cancel the catalog. Repeating the command with the same files resumes the
    same catalog.
    """
    if (products is None) == (resume is None):
        raise BadParameter("Expected either a file of products or --resume ID.")
    if resume and (images or dry_run or again):
        raise BadParameter("--images, --dry-run and --again cannot be combined with --resume.")
    if retry and not resume:
        raise BadParameter("--retry requires --resume ID.")
    wanted, screen = Wanted(_place(out), _place(errors), as_json, url), Screen()
    with connected(url, screen) as client:
        if resume:
            found = client.find_catalog(resume)
            found = found.retry() if retry else found
        else:
            assert products is not None  # noqa: S101 - narrows the type; checked above
            order = _Order(products, images, model, release, dry_run, again)
            found = _sent(client, order, screen)
        if no_wait:
            _left(found, wanted, screen)
            return
        with _resumable(found, wanted, screen):
            found = _waited(found, screen)
            _collect(found, wanted)
            _report(found, wanted, screen)
    raise Exit(DONE if found.is_whole else INCOMPLETE)


def catalogs(
    limit: Annotated[int, Option("--limit", "-n", min=1, help="Maximum number of catalogs.")] = 20,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """List your catalogs, newest first."""
    screen = Screen()
    with connected(url, screen) as client:
        found = list(islice(client.catalogs(), limit))
    if as_json:
        screen.json([one.raw for one in found])
        return
    columns = ("id", "status", "file", "rows", "done", "failed", "rejected", "created")
    screen.table(columns, map(_row, found))


@dataclass(frozen=True)
class _Order:
    """Files and options of a new catalog."""

    products: Path
    images: Path | None
    model: ModelName
    release: str
    dry_run: bool
    again: bool


def _sent(client: Rayon, order: _Order, screen: Screen) -> Catalog:
    try:
        with progress_shown(screen) as show:
            found = client.catalog(
                order.products,
                order.images,
                model=order.model,
                release=order.release,
                dry_run=order.dry_run,
                again=order.again,
                on_progress=show,
            )
    except KeyboardInterrupt:
        screen.say(
            "\nStopped before the upload was complete. Repeat the command to start it again."
        )
        raise
    if found.is_final:
        screen.say(
            f"These files were sent before as catalog {found.id}; use --again for a new one."
        )
    return found


def _waited(catalog: Catalog, screen: Screen) -> Catalog:
    with progress_shown(screen) as show:
        return catalog.wait(on_progress=show)


@contextmanager
def _resumable(catalog: Catalog, wanted: Wanted, screen: Screen) -> Iterator[None]:
    """Print the command that resumes the catalog if the block is interrupted."""
    try:
        yield
    except (KeyboardInterrupt, RayonError, OSError) as stop:
        if isinstance(stop, KeyboardInterrupt):
            screen.say("\nStopped waiting; the catalog continues.")
        screen.say(f"To resume:\n  {wanted.command(catalog)}")
        raise


def _left(catalog: Catalog, wanted: Wanted, screen: Screen) -> None:
    if wanted.as_json:
        screen.json(catalog.raw)
        return
    screen.answer(f"Catalog {catalog.id} is {catalog.status}. To wait for it:")
    screen.answer(f"  {wanted.command(catalog)}")


def _collect(catalog: Catalog, wanted: Wanted) -> None:
    if wanted.out and not catalog.dry_run and catalog.status != "failed":
        catalog.results(wanted.out)
    if wanted.errors and catalog.counts.rejected:
        catalog.errors(wanted.errors)


def _report(catalog: Catalog, wanted: Wanted, screen: Screen) -> None:
    if wanted.as_json:
        screen.json(catalog.raw)
        return
    screen.answer(_summary(catalog))
    if catalog.error:
        screen.answer(f"{catalog.error.message} ({catalog.error.code})")
    _report_images(catalog, screen)
    _report_rejected(catalog, wanted, screen)
    if catalog.counts.failed:
        screen.answer(f"To retry the failed rows: {wanted.command(catalog, '--retry')}")
    if catalog.status == "failed" or catalog.dry_run:
        return
    if wanted.out:
        screen.answer(f"Answers: {wanted.out}")
    else:
        screen.answer(f"Answers: {wanted.command(catalog)} --out results.csv")


def _summary(catalog: Catalog) -> str:
    counts = catalog.counts
    parts = [f"{counts.rows:,} rows {'checked' if catalog.dry_run else 'in all'}"]
    named = {
        "classified": 0 if catalog.dry_run else counts.done,
        "rejected": counts.rejected,
        "failed": counts.failed,
        "cancelled": counts.cancelled,
    }
    parts += [f"{count:,} {what}" for what, count in named.items() if count]
    if catalog.finished_at:
        parts.append(f"in {duration((catalog.finished_at - catalog.created_at).total_seconds())}")
    return f"{catalog.name or catalog.id} {catalog.status}: {', '.join(parts)}"


def _report_images(catalog: Catalog, screen: Screen) -> None:
    if catalog.unmatched_images:
        screen.say(
            f"Missing from the ZIP, classified by text only: {_some(catalog.unmatched_images)}"
        )
    if catalog.unused_images:
        screen.say(f"In the ZIP but not named by any row: {_some(catalog.unused_images)}")


def _report_rejected(catalog: Catalog, wanted: Wanted, screen: Screen) -> None:
    if not catalog.counts.rejected:
        return
    if wanted.errors:
        screen.answer(f"Rejected rows: {wanted.errors}")
        return
    with tempfile.TemporaryDirectory() as folder:
        path = catalog.errors(Path(folder) / "errors.csv")
        with path.open(newline="", encoding="utf-8-sig") as file:
            for row in islice(csv.DictReader(file), SHOWN):
                where = ", ".join(filter(None, (f"row {row.get('row')}", row.get("column"))))
                screen.answer(f"  {where}: {row.get('reason')}")
    if catalog.counts.rejected > SHOWN:
        screen.answer(f"To get all rejected rows: {wanted.command(catalog)} --errors errors.csv")


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _row(found: Catalog) -> tuple[object, ...]:
    counts = found.counts
    return (
        found.id,
        found.status + (" (dry run)" if found.dry_run else ""),
        found.name,
        counts.rows,
        counts.done,
        counts.failed,
        counts.rejected,
        found.created_at,
    )


def _place(path: Path | None) -> Path | None:
    """Check the folder of an output file before hours of classifying, not after."""
    if path is not None and not path.absolute().parent.is_dir():
        raise BadParameter(f"Expected an existing folder. Received: {path.absolute().parent}")
    return path
