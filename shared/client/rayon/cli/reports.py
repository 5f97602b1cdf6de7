"""`rayon report`, for operators."""

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
        str | None, Argument(metavar="[MONTH]", help="Such as 2026-11; else the newest report.")
    ] = None,
    out: Annotated[
        Path | None, Option("--out", "-o", help="Write the page, HTML, into this file.")
    ] = None,
    make: Annotated[
        bool, Option("--make", help="Have it made first, or made again; it takes a moment.")
    ] = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Show whether a month was good, and why; the page has the rest."""
    screen = Screen()
    if make and month is None:
        raise BadParameter("--make needs a MONTH.")
    with connected(url, screen) as client:
        if make:
            client.request_report(month or "")
            screen.say(
                f"The report of {month} is being made. Ask again in a moment, without --make."
            )
            return
        found = client.report(month or _newest(client))
        if out is not None:
            client.download_report(found.month, out)
            screen.say(f"The page is in {out}.")
    if as_json:
        screen.json(found.raw)
    else:
        _show(found, screen)


def _newest(client: Rayon) -> str:
    months = client.reports()
    if not months:
        raise RayonError("There is no report yet. `rayon report MONTH --make` has one made.")
    return months[0].month


def _show(found: Report, screen: Screen) -> None:
    screen.answer(f"{found.month}: {found.verdict}. {found.sentence}")
    rules = found.raw["document"]["verdict"]["rules"]
    rows = ((RESULTS[one["fired"]], one["level"], one["found"]) for one in rules)
    screen.table(("result", "level", "found"), rows)
