"""Command `rayon report`, for operators."""

from pathlib import Path
from typing import Annotated

from typer import Argument, BadParameter, Option

from rayon.answers import Report
from rayon.cli.options import AsJson, Url, connected
from rayon.cli.screen import Screen
from rayon.client import Rayon
from rayon.errors import RayonError

RESULTS = {True: "fires", False: "fine", None: "cannot tell"}


def report(
    month: Annotated[
        str | None,
        Argument(metavar="[MONTH]", help="Month such as 2026-11. Defaults to the newest report."),
    ] = None,
    out: Annotated[
        Path | None, Option("--out", "-o", help="Write the report as an HTML page to this file.")
    ] = None,
    make: Annotated[
        bool, Option("--make", help="Generate the report, or generate it again, and exit.")
    ] = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Show the verdict of a monthly report and the rules behind it.

    Use --out for the complete report as an HTML page. Requires the operator role.
    """
    screen = Screen()
    if make and month is None:
        raise BadParameter("--make needs a MONTH.")
    with connected(url, screen) as client:
        if make:
            client.request_report(month or "")
            screen.say(f"Generating {month}. Read it in a moment with `rayon report {month}`.")
            return
        found = client.report(month or _newest(client))
        if out is not None:
            client.download_report(found.month, out)
            screen.say(f"The HTML page was written to {out}.")
    if as_json:
        screen.json(found.raw)
    else:
        _show(found, screen)


def _newest(client: Rayon) -> str:
    months = client.reports()
    if not months:
        raise RayonError("There is no report yet. Generate one with `rayon report MONTH --make`.")
    return months[0].month


def _show(found: Report, screen: Screen) -> None:
    screen.answer(f"{found.month}: {found.verdict}. {found.sentence}")
    rules = found.raw["document"]["verdict"]["rules"]
    rows = ((RESULTS[one["fired"]], one["level"], one["found"]) for one in rules)
    screen.table(("result", "level", "found"), rows)
