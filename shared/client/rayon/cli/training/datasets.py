"""Commands `rayon dataset add`, `check`, `show`, `rows` and `delete`, for operators."""

from pathlib import Path
from typing import Annotated

from typer import Argument, BadParameter, Exit, Option, Typer, confirm

from rayon.catalogs import OnProgress
from rayon.cli import accounts
from rayon.cli.bars import progress_shown
from rayon.cli.exits import DONE, EPILOG, INCOMPLETE
from rayon.cli.options import AsJson, Url, connected
from rayon.cli.screen import Screen
from rayon.cli.training.findings import report_version
from rayon.client import Rayon
from rayon.datasets import DatasetVersion

Name = Annotated[str, Argument(help="Name of the dataset.")]
_FILE = {"exists": True, "dir_okay": False, "readable": True}
_TABLE = "CSV, JSON, JSON Lines or Excel, also compressed by gzip or ZIP"
Labels = Annotated[
    Path | None,
    Option("--labels", help=f"Categories, if PRODUCTS has no column for them: {_TABLE}.", **_FILE),
]
Images = Annotated[
    Path | None, Option("--images", help="ZIP file with the images of the products.", **_FILE)
]
Categories = Annotated[
    Path | None,
    Option("--categories", help="Codes and names of the categories, as a table.", **_FILE),
]
NoWait = Annotated[bool, Option("--no-wait", help="Send the files and exit.")]


def datasets_app() -> Typer:
    """Build the group `rayon dataset`."""
    app = Typer(
        name="dataset",
        help="Upload, check and delete labelled products for training. Requires the operator role.",
        epilog=EPILOG,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name, command in (
        ("add", add),
        ("check", check),
        ("show", show),
        ("rows", rows),
        ("delete", delete),
    ):
        app.command(name, epilog=EPILOG)(command)
    return app


def add(
    name: Name,
    products: Annotated[Path, Argument(help=f"Products as {_TABLE}.", **_FILE)],
    labels: Labels = None,
    images: Images = None,
    categories: Categories = None,
    no_wait: NoWait = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Upload a new dataset, and report what its check finds.

    Columns: designation, description, image and the category of each product, or the usual names
    of shops for them; or the files of the Rakuten challenge. Ctrl-C stops waiting; the check goes
    on: rayon dataset check NAME.
    """
    screen = Screen()
    with connected(url, screen) as client:

        def send(show_progress: OnProgress) -> DatasetVersion:
            return client.datasets.add(
                name,
                products,
                labels=labels,
                images=images,
                categories=categories,
                on_progress=show_progress,
            )

        with progress_shown(screen) as show_progress:
            sent = send(show_progress)
        _report(client, sent, screen, as_json=as_json, no_wait=no_wait)


def check(name: Name, as_json: AsJson = False, url: Url = None) -> None:
    """Wait for the check of the newest version, and report what it found.

    Exits with 1 if the version cannot be trained on.
    """
    screen = Screen()
    with connected(url, screen) as client:
        newest = client.datasets.find(name).newest
        _report(client, newest, screen, as_json=as_json, no_wait=False)


def show(
    name: Annotated[str | None, Argument(help="Show only this dataset.")] = None,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """List all datasets, or the versions of one, newest first."""
    screen = Screen()
    with connected(url, screen) as client:
        found = [client.datasets.find(name)] if name else [*client.datasets]
    if as_json:
        screen.json(found[0].raw if name else [one.raw for one in found])
        return
    versions = [version for one in found for version in (one.versions if name else (one.newest,))]
    columns = ("dataset", "status", "rows", "categories", "images", "created", "by")
    screen.table(columns, map(_row, versions))


def rows(
    name: Name,
    products: Annotated[
        Path | None, Argument(help="Rows to add; rows with an existing ID replace it.", **_FILE)
    ] = None,
    labels: Labels = None,
    images: Images = None,
    categories: Categories = None,
    remove: Annotated[
        list[str] | None,
        Option("--remove", metavar="ID", help="Leave out the row with this ID; may be repeated."),
    ] = None,
    corrected: Annotated[
        bool, Option("--corrected", help="Add the answers that people have labelled.")
    ] = False,
    no_wait: NoWait = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Create a new version of a dataset: add, replace or remove rows.

    The version before stays as it is.
    """
    if products is None and not remove and not corrected:
        raise BadParameter("Expected a file of products, --remove or --corrected. Received: none")
    if labels and corrected:
        raise BadParameter("--labels cannot be combined with --corrected.")
    screen = Screen()
    with connected(url, screen) as client:
        with progress_shown(screen) as show_progress:
            sent = client.datasets.add_rows(
                name,
                products,
                labels=labels,
                images=images,
                categories=categories,
                remove=remove or (),
                corrected=corrected,
                on_progress=show_progress,
            )
        _report(client, sent, screen, as_json=as_json, no_wait=no_wait)


def delete(
    name: Name,
    yes: Annotated[bool, Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    url: Url = None,
) -> None:
    """Delete a dataset with all its versions. Releases that learnt from it stay."""
    screen = Screen()
    if not yes:
        if not accounts.is_terminal():
            raise BadParameter("There is no terminal to ask for confirmation; use --yes.")
        confirm(f"Delete the dataset {name} with all its versions?", abort=True, err=True)
    with connected(url, screen) as client:
        client.datasets.delete(name)
    screen.answer(f"{name} was deleted.")


def _report(
    client: Rayon, version: DatasetVersion, screen: Screen, *, as_json: bool, no_wait: bool
) -> None:
    """Wait for the check of a version, print its findings, and exit."""
    if not no_wait:
        version = _checked(client, version, screen)
    if as_json:
        screen.json(version.raw)
    elif not version.is_final:
        screen.answer(f"{version.reference} is being checked. To see what is found:")
        screen.answer(f"  rayon dataset check {version.name}")
    else:
        report_version(version, screen)
    raise Exit(INCOMPLETE if version.status == "failed" else DONE)


def _checked(client: Rayon, version: DatasetVersion, screen: Screen) -> DatasetVersion:
    try:
        with progress_shown(screen) as show_progress:
            return client.datasets.wait(version, show_progress)
    except KeyboardInterrupt:
        screen.say("\nStopped waiting; the check continues. To come back:")
        screen.say(f"  rayon dataset check {version.name}")
        raise


def _row(one: DatasetVersion) -> tuple[object, ...]:
    return (
        one.reference,
        one.status,
        one.rows,
        one.classes,
        one.images,
        one.created_at,
        one.created_by,
    )
