"""Commands `rayon catalog` and `rayon catalogs`.

A catalog runs on the service independently of the command, so waiting can be stopped and resumed.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

from typer import Argument, BadParameter, Exit, Option

from rayon.answers import ModelName
from rayon.catalogs import Catalog, Progress, ResultFormat
from rayon.cli.bars import progress_shown
from rayon.cli.catalogs.options import MAX_DEGRADED, Wanted, require_resumed, stated_columns
from rayon.cli.catalogs.outcome import finished
from rayon.cli.catalogs.repair import repaired
from rayon.cli.catalogs.report import report_check
from rayon.cli.exits import DONE, INCOMPLETE
from rayon.cli.options import AsJson, Model, ReleaseName, Url, connected
from rayon.cli.screen import Screen
from rayon.client import Rayon
from rayon.errors import RayonError
from rayon.uploads import SentCatalogs


def catalog(
    products: Annotated[
        Path | None,
        Argument(
            exists=True,
            dir_okay=False,
            readable=True,
            help="Products as CSV, JSON, JSON Lines or Excel, also compressed by gzip or ZIP.",
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
        Option(
            "--out",
            "-o",
            dir_okay=False,
            help="Write the answers to this file: .csv, .jsonl or .xlsx.",
        ),
    ] = None,
    format: Annotated[  # noqa: A002 - the option's public name
        ResultFormat | None,
        Option("--format", help="Format of --out. By default that of its suffix, or else CSV."),
    ] = None,
    bom: Annotated[
        bool | None,
        Option(
            "--bom/--no-bom",
            help="Begin CSV with a byte order mark, by which Excel reads accents. By default as the"
            " upload.",
        ),
    ] = None,
    target: Annotated[
        float | None,
        Option(
            "--target",
            min=0.01,
            max=1,
            metavar="SHARE",
            help="Report how many answers can be accepted so that this share is expected to be "
            "right, such as .98, and add a column `accepted` to --out.",
        ),
    ] = None,
    by_category: Annotated[
        bool, Option("--by-category", help="With --target: each category has to reach it.")
    ] = False,
    errors: Annotated[
        Path | None,
        Option("--errors", dir_okay=False, help="Write the rejected rows to this CSV file."),
    ] = None,
    column: Annotated[
        list[str] | None,
        Option(
            "--column",
            metavar="FIELD=COLUMN",
            help="Column of `designation`, `description` or `image` where its name is unusual, such"
            " as designation=Nom; may be repeated.",
        ),
    ] = None,
    max_degraded: Annotated[
        float,
        Option(
            "--max-degraded",
            min=0,
            max=1,
            help="Exit with 1 if more than this share of the answers does not use every input.",
        ),
    ] = MAX_DEGRADED,
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
    unfinished: Annotated[
        bool,
        Option(
            "--continue",
            help="With --resume: classify the rows that a cancel left. If the catalog had a ZIP, "
            "repeat --images.",
        ),
    ] = False,
    repair: Annotated[
        Path | None,
        Option(
            "--repair",
            exists=True,
            dir_okay=False,
            readable=True,
            help="With --resume: the file of --errors with its rows corrected. Only these rows are "
            "classified, and join the same answers.",
        ),
    ] = None,
    missing_images: Annotated[
        list[Path] | None,
        Option(
            "--missing-images",
            exists=True,
            dir_okay=False,
            readable=True,
            help="With --resume: an image or a ZIP file of images that rows name and lack; may be "
            "repeated.",
        ),
    ] = None,
    again: Annotated[
        bool, Option("--again", help="Create a new catalog even if the files were sent before.")
    ] = False,
    no_wait: Annotated[bool, Option("--no-wait", help="Send the files and exit.")] = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Classify many products: upload a file, watch the progress, download the answers.

    Columns: designation, description, image, or the usual names of shops for them; or those of the
    Rakuten challenge. Ctrl-C stops waiting but does not cancel the catalog. Repeating the command
    with the same files resumes the same catalog.
    """
    if (products is None) == (resume is None):
        raise BadParameter("Expected either a file of products or --resume ID.")
    if resume and (column or dry_run or again or (images and not unfinished)):
        raise BadParameter(
            "--column, --dry-run, --again, and --images without --continue cannot be combined with "
            "--resume."
        )
    is_repaired = repair is not None or bool(missing_images)
    again_by = {"--retry": retry, "--continue": unfinished, "--repair": is_repaired}
    require_resumed([name for name, is_chosen in again_by.items() if is_chosen], resume)
    wanted = Wanted(out, errors, format, bom, max_degraded, as_json, url, target, by_category)
    wanted.require_writable()
    columns, screen = stated_columns(column or []), Screen()
    with connected(url, screen, SentCatalogs()) as client:
        if resume:
            found = client.find_catalog(resume)
            found = found.retry() if retry else found
            found = found.resume(images) if unfinished else found
            found = repaired(found, repair, missing_images or [], screen)
        else:
            assert products is not None  # noqa: S101 - narrows the type; checked above
            order = _Order(products, images, columns, model, release, dry_run, again)
            found = _sent(client, order, screen)
        if no_wait:
            _left(found, wanted, screen)
            return
        with _resumable(found, wanted, screen):
            found = _waited(found, screen)
            is_complete = finished(found, wanted, screen)
    raise Exit(DONE if is_complete else INCOMPLETE)


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
    columns: Mapping[str, str]
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
                columns=order.columns,
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
    """Wait for a catalog; print the outcome of its check as soon as it is there."""
    is_reported = False

    with progress_shown(screen) as show:

        def report(progress: Progress) -> None:
            nonlocal is_reported
            show(progress)
            checked = progress.catalog
            if checked and checked.status != "validating" and not is_reported:
                report_check(checked, screen)
                is_reported = True

        return catalog.wait(on_progress=report)


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
