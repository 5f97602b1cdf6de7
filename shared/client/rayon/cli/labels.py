"""`rayon labels` and `rayon reviews`: people tell the truth."""

import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, BadParameter, Exit, Option, prompt

from rayon.answers import Choice
from rayon.catalogs import LabelReport
from rayon.cli import accounts
from rayon.cli.exits import DONE, INCOMPLETE
from rayon.cli.options import AsJson, Url, connected
from rayon.cli.screen import Screen, percent, printable
from rayon.client import Rayon
from rayon.errors import Refused
from rayon.operations import Review

#: So many rejected rows are shown.
SHOWN = 5
#: Of a description, so many characters; and of a title in a list.
DESCRIPTION_CHARACTERS, TITLE_CHARACTERS = 600, 60
#: So many categories can be chosen by their number.
CHOICES = 5

Reason = Literal["random", "uncertain"]


def labels(
    file: Annotated[
        Path,
        Argument(exists=True, dir_okay=False, readable=True, help="CSV, TSV or JSON Lines."),
    ],
    catalog: Annotated[str, Option("--catalog", metavar="ID", help="Whose rows are labelled.")],
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Tell the true categories of a catalog's rows.

    Columns: prdtypecode, and row, productid or job_id. Rows without a code are skipped; labels that
    are right are taken, the others listed. The same file again changes nothing.
    """
    screen = Screen()
    with connected(url, screen) as client:
        report = client.find_catalog(catalog).label(file)
    if as_json:
        screen.json(report.raw)
    else:
        _tell(report, screen)
    raise Exit(INCOMPLETE if report.rejected else DONE)


def reviews(
    label: Annotated[
        bool, Option("--label", "-l", help="Show one after the other, and ask for the truth.")
    ] = False,
    everything: Annotated[
        bool, Option("--all", help="Those too that somebody has labelled.")
    ] = False,
    reason: Annotated[Reason | None, Option("--reason", help="Only these.")] = None,
    limit: Annotated[int, Option("--limit", "-n", min=1, help="At most so many.")] = 50,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """List the answers that were chosen for people to look at; for operators.

    What they say is true gives the F1 of the answers, and the next training learns from it.
    """
    if label and (as_json or everything):
        raise BadParameter("--label goes without --json and --all.")
    if label and not accounts.is_terminal():
        raise BadParameter("There is no terminal to ask; use `rayon reviews --json` in a script.")
    screen = Screen()
    with connected(url, screen) as client:
        found = client.reviews(labelled=None if everything else False, reason=reason)
        chosen = list(islice(found, limit))
        if label:
            _ask_all(client, chosen, screen)
            return
    if as_json:
        screen.json([one.raw for one in chosen])
        return
    columns = ("job", "reason", "chance", "code", "category", "sure", "label", "title")
    screen.table(columns, map(_row, chosen))


def _ask_all(client: Rayon, chosen: Sequence[Review], screen: Screen) -> None:
    told = 0
    for number, review in enumerate(chosen, start=1):
        screen.answer(f"\n{number} of {len(chosen)}  {review.job_id}  ({review.reason})")
        said = _ask(client, review, screen)
        if said == "end":
            break
        told += said == "told"
    screen.say(f"{told} labelled.")


def _ask(client: Rayon, review: Review, screen: Screen) -> Literal["told", "skipped", "end"]:
    """Show an answer until the truth is told, or left open."""
    _show(review, screen)
    options = "Number, code, Enter to skip, q to end" + (", p for the image" * bool(review.image))
    while True:
        said = prompt(options, default="", show_default=False, err=True).strip().lower()
        if said in ("", "q"):
            return "end" if said else "skipped"
        if said == "p" and review.image:
            screen.say(f"Image: {_image(client, review)}")
            continue
        code = _code(review, said)
        if code is None:
            screen.say(f"Expected a number of the list, or a code. Received: {said!r}")
            continue
        try:
            client.label(review.job_id, code)
        except Refused as error:
            if error.status != 422:
                raise
            screen.say(str(error))
            continue
        return "told"


def _show(review: Review, screen: Screen) -> None:
    screen.answer(review.designation or "(no title)")
    if review.description:
        screen.answer(review.description[:DESCRIPTION_CHARACTERS])
    for number, one in enumerate(_choices(review), start=1):
        screen.answer(f"  {number}  {one.category} ({one.prdtypecode}), {percent(one.probability)}")


def _code(review: Review, said: str) -> int | None:
    """The code that was meant: of the list by its number, or any code."""
    if not said.isdecimal():
        return None
    number, choices = int(said), _choices(review)
    known = {one.prdtypecode for one in choices}
    # A category may have a code as small as a number of the list.
    if number in known or not 0 < number <= len(choices):
        return number
    return choices[number - 1].prdtypecode


def _choices(review: Review) -> Sequence[Choice]:
    return review.answer.top[:CHOICES] if review.answer else ()


def _image(client: Rayon, review: Review) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="rayon-"))
    return client.review_image(review.job_id, folder / "image")


def _tell(report: LabelReport, screen: Screen) -> None:
    skipped = f", {report.skipped} without a code" if report.skipped else ""
    screen.answer(
        f"{report.rows} rows, {report.taken} labels taken, {report.rejected} rejected{skipped}"
    )
    for one in report.problems[:SHOWN]:
        where = f"row {one.row}" + (f", {one.column}" if one.column else "")
        screen.answer(f"  {where}: {one.reason}")
    if report.rejected > SHOWN:
        screen.answer(f"  and {report.rejected - SHOWN} more; --json lists them")


def _row(review: Review) -> tuple[object, ...]:
    answer = review.answer
    return (
        review.job_id,
        review.reason,
        f"{review.chance:.3g}",
        answer.prdtypecode if answer else None,
        answer.category if answer else None,
        f"{answer.confidence:.2f}" if answer else None,
        review.label,
        printable(" ".join(review.designation.split()))[:TITLE_CHARACTERS],
    )
