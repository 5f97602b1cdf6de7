"""Commands `rayon labels`, `rayon trust` and `rayon reviews`, about true categories."""

import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, BadParameter, Exit, Option, prompt

from rayon.answers import Choice, LabelReport, NewCategory
from rayon.cli import accounts
from rayon.cli.exits import DONE, INCOMPLETE
from rayon.cli.options import AsJson, Url, connected
from rayon.cli.screen import Screen, percent, place, printable
from rayon.client import Rayon
from rayon.errors import Refused
from rayon.operations import Review

#: Number of rejected rows to show.
SHOWN = 5
#: Characters to show of a description, and of a title in a list.
DESCRIPTION_CHARACTERS, TITLE_CHARACTERS = 600, 60
#: Number of categories that can be chosen by their position.
CHOICES = 5

Reason = Literal["random", "uncertain"]
NewCategories = Annotated[
    bool,
    Option(
        "--new-categories",
        help="Accept codes of categories that the release does not have yet. Requires the operator "
        "role.",
    ),
]


def labels(
    file: Annotated[
        Path,
        Argument(
            exists=True, dir_okay=False, readable=True, help="Label file as CSV, TSV or JSON Lines."
        ),
    ],
    catalog: Annotated[str, Option("--catalog", metavar="ID", help="ID of the labelled catalog.")],
    new_categories: NewCategories = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Record the true categories of a catalog's rows.

    Required columns: prdtypecode, and one of row, productid or job_id. Rows without a code are
    skipped. Valid labels are recorded and rejected ones are listed. Sending the same file again
    changes nothing.
    """
    screen = Screen()
    with connected(url, screen) as client:
        report = client.find_catalog(catalog).label(file, new_categories=new_categories)
    if as_json:
        screen.json(report.raw)
    else:
        _show_report(report, screen)
    raise Exit(INCOMPLETE if report.rejected else DONE)


def trust(
    username: Annotated[str, Argument(help="Account whose labels are trusted.")],
    withdraw: Annotated[
        bool, Option("--withdraw", help="Train on none of its labels, not even on earlier ones.")
    ] = False,
    url: Url = None,
) -> None:
    """Train on the labels of an account, or no longer. Requires the admin role.

    Labels of operators and admins are trusted, and those of clients are not, until an admin decides
    otherwise. The decision holds from the next version of a dataset.
    """
    screen = Screen()
    with connected(url, screen) as client:
        account = client.trust_labels(username, trusted=not withdraw)
    train = "no longer train" if withdraw else "train from now on"
    screen.answer(f"Labels of {account.username} ({account.role}) {train}.")


def reviews(
    label: Annotated[
        bool, Option("--label", "-l", help="Prompt for the true category of each.")
    ] = False,
    everything: Annotated[bool, Option("--all", help="Include answers already labelled.")] = False,
    reason: Annotated[Reason | None, Option("--reason", help="List only this reason.")] = None,
    limit: Annotated[int, Option("--limit", "-n", min=1, help="Maximum number of answers.")] = 50,
    new_categories: NewCategories = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """List the answers selected for human review. Requires the operator role.

    The labels determine the measured F1 and become training data of the next training.
    """
    if label and (as_json or everything):
        raise BadParameter("--label cannot be combined with --json or --all.")
    if new_categories and not label:
        raise BadParameter("--new-categories needs --label.")
    if label and not accounts.is_terminal():
        raise BadParameter("--label needs a terminal; use `rayon reviews --json` in a script.")
    screen = Screen()
    with connected(url, screen) as client:
        found = client.reviews(labelled=None if everything else False, reason=reason)
        chosen = list(islice(found, limit))
        if label:
            _ask_all(client, chosen, screen, allows_new=new_categories)
            return
    if as_json:
        screen.json([one.raw for one in chosen])
        return
    columns = ("job", "reason", "chance", "code", "category", "sure", "label", "title")
    screen.table(columns, map(_row, chosen))


def _ask_all(client: Rayon, chosen: Sequence[Review], screen: Screen, *, allows_new: bool) -> None:
    labelled = 0
    for number, review in enumerate(chosen, start=1):
        screen.answer(f"\n{number} of {len(chosen)}  {review.job_id}  ({review.reason})")
        outcome = _ask(client, review, screen, allows_new=allows_new)
        if outcome == "end":
            break
        labelled += outcome == "labelled"
    screen.say(f"{labelled} labelled.")


def _ask(
    client: Rayon, review: Review, screen: Screen, *, allows_new: bool
) -> Literal["labelled", "skipped", "end"]:
    """Show an answer and prompt until it is labelled or skipped."""
    _show(review, screen)
    options = "Number, code or name; Enter skips, q quits" + (
        ", p saves the image" * bool(review.image)
    )
    while True:
        reply = prompt(options, default="", show_default=False, err=True).strip().lower()
        if reply in ("", "q"):
            return "end" if reply else "skipped"
        if reply == "p" and review.image:
            screen.say(f"Image: {_image(client, review)}")
            continue
        try:
            category = _label(review, reply)
            is_new = allows_new and isinstance(category, int)
            client.label(review.job_id, category, new_category=is_new)
        except Refused as error:
            if error.status != 422:
                raise
            screen.say(str(error))
            continue
        return "labelled"


def _show(review: Review, screen: Screen) -> None:
    screen.answer(review.designation or "(no title)")
    if review.description:
        screen.answer(review.description[:DESCRIPTION_CHARACTERS])
    for number, one in enumerate(_choices(review), start=1):
        screen.answer(f"  {number}  {one.category} ({one.prdtypecode}), {percent(one.probability)}")


def _label(review: Review, reply: str) -> int | str:
    """Return the chosen category: its code, given as such or by its position, or its name."""
    if not reply.isdecimal():
        return reply
    number, choices = int(reply), _choices(review)
    known = {one.prdtypecode for one in choices}
    # A category code may be as small as a position in the list; the code takes precedence.
    if number in known or not 0 < number <= len(choices):
        return number
    return choices[number - 1].prdtypecode


def _choices(review: Review) -> Sequence[Choice]:
    return review.answer.top[:CHOICES] if review.answer else ()


def _image(client: Rayon, review: Review) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="rayon-"))
    return client.review_image(review.job_id, folder / "image")


def _show_report(report: LabelReport, screen: Screen) -> None:
    skipped = f", {report.skipped} without a code" if report.skipped else ""
    screen.answer(
        f"{report.rows} rows, {report.taken} labels recorded, {report.rejected} rejected{skipped}"
    )
    for one in report.problems[:SHOWN]:
        where = place(one.row, one.line) + (f", {one.column}" if one.column else "")
        screen.answer(f"  {where}: {one.reason}")
    if report.rejected > SHOWN:
        screen.answer(f"  and {report.rejected - SHOWN} more; use --json to list them")
    _show_new(report.new_categories, screen)


def _show_new(new: Sequence[NewCategory], screen: Screen) -> None:
    if not new:
        return
    counted = "1 new category" if len(new) == 1 else f"{len(new)} new categories, rarest first"
    screen.answer(f"{counted}; remove the labels of a wrong code:")
    for one in new[:SHOWN]:
        screen.answer(f"  {one.prdtypecode}: {one.rows} row{'' if one.rows == 1 else 's'}")
    if len(new) > SHOWN:
        screen.answer(f"  and {len(new) - SHOWN} more; use --json to list them")


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
