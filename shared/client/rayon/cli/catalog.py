"""`rayon catalog` and `rayon catalogs`.

A catalog goes on whether or not somebody waits for it; so waiting can be stopped and resumed.
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

#: So many rejected rows, or names of images, are shown; files have all.
SHOWN = 5


@dataclass(frozen=True)
class Wanted:
    """Where a catalog's answers go, and how the command that asks for them again is written."""

    out: Path | None
    errors: Path | None
    as_json: bool
    url: str | None

    def command(self, catalog: Catalog, *more: str) -> str:
        """The command that goes on with a catalog."""
        words = ["rayon", "catalog", "--resume", catalog.id, *more]
        words += ["--out", str(self.out)] if self.out else []
        words += ["--errors", str(self.errors)] if self.errors else []
        words += ["--json"] if self.as_json else []
        words += ["--url", self.url] if self.url else []
        return shlex.join(words)


def catalog(
    products: Annotated[
        Path | None,
        Argument(exists=True, dir_okay=False, readable=True, help="CSV, TSV or JSON Lines."),
    ] = None,
    images: Annotated[
        Path | None,
        Option("--images", exists=True, dir_okay=False, readable=True, help="ZIP of images."),
    ] = None,
    out: Annotated[
        Path | None, Option("--out", "-o", dir_okay=False, help="Where the answers go, as CSV.")
    ] = None,
    errors: Annotated[
        Path | None,
        Option("--errors", dir_okay=False, help="Where rejected rows go, with the reason."),
    ] = None,
    dry_run: Annotated[bool, Option("--dry-run", help="Only check the rows.")] = False,
    model: Model = "fusion",
    release: ReleaseName = "champion",
    resume: Annotated[
        str | None, Option("--resume", metavar="ID", help="Go on waiting for this catalog.")
    ] = None,
    retry: Annotated[
        bool, Option("--retry", help="With --resume: classify the rows that failed again.")
    ] = False,
    again: Annotated[
        bool, Option("--again", help="Make a new catalog, even of files that were sent before.")
    ] = False,
    no_wait: Annotated[bool, Option("--no-wait", help="Send the files and end.")] = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Classify many products: send a file, watch the progress, get the file with the answers.

    Columns: designation, description, image; or those of the Rakuten challenge. Ctrl-C stops the
    waiting, not the catalog. The same command on the same files goes on with the same catalog.
    """
    if (products is None) == (resume is None):
        raise BadParameter("Give a file of products, or --resume and the id of a catalog.")
    if resume and (images or dry_run or again):
        raise BadParameter("--images, --dry-run and --again are for new catalogs.")
    if retry and not resume:
        raise BadParameter("--retry needs --resume and the id of a catalog.")
    wanted, screen = Wanted(_place(out), _place(errors), as_json, url), Screen()
    with connected(url, screen) as client:
        if resume:
            found = client.find_catalog(resume)
            found = found.retry() if retry else found
        else:
            assert products is not None  # noqa: S101 - for the type; see above
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
    limit: Annotated[int, Option("--limit", "-n", min=1, help="At most so many.")] = 20,
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
    """What is to be classified, and how."""

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
        screen.say("\nStopped before everything was sent. The same command begins again.")
        raise
    if found.is_final:
        screen.say(f"These files were sent before, as catalog {found.id}; --again makes a new one.")
    return found


def _waited(catalog: Catalog, screen: Screen) -> Catalog:
    with progress_shown(screen) as show:
        return catalog.wait(on_progress=show)


@contextmanager
def _resumable(catalog: Catalog, wanted: Wanted, screen: Screen) -> Iterator[None]:
    """Whatever stops the waiting, say how to go on with it."""
    try:
        yield
    except (KeyboardInterrupt, RayonError, OSError) as stop:
        if isinstance(stop, KeyboardInterrupt):
            screen.say("\nStopped waiting; the catalog goes on.")
        screen.say(f"To go on with it:\n  {wanted.command(catalog)}")
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
        screen.answer(f"To try the rows that failed again: {wanted.command(catalog, '--retry')}")
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
        screen.say(f"Not in the ZIP, so classified by text: {_some(catalog.unmatched_images)}")
    if catalog.unused_images:
        screen.say(f"In the ZIP, but of no row: {_some(catalog.unused_images)}")


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
        screen.answer(f"All of them: {wanted.command(catalog)} --errors errors.csv")


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
    """A place to write to; better refused now than after hours of classifying."""
    if path is not None and not path.absolute().parent.is_dir():
        raise BadParameter(f"{path.absolute().parent} is no folder.")
    return path
