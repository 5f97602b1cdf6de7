"""Command `rayon explain`."""

from typing import Annotated

from typer import Argument, Option

from rayon.answers import Explanation
from rayon.cli.options import AsJson, Url, connected
from rayon.cli.screen import Screen, percent
from rayon.errors import Failed, Unfinished

#: Number of words to show.
SHOWN = 10


def explain(
    job_id: Annotated[str, Argument(help="ID of a job with an answer.", metavar="ID")],
    wait: Annotated[
        float, Option("--wait", min=0, help="Seconds to wait for the explanation.")
    ] = 60,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Show which words and which part of the image spoke for an answer.

    An effect is the fall of the log-odds of the category without the words: positive ones speak for
    it. In a pipe the output is words and effect, separated by a tab.
    """
    screen = Screen()
    with connected(url, screen) as client:
        found = client.explain(job_id, wait_seconds=wait)
    if as_json:
        screen.json(found.raw)
    if found.status == "queued":
        raise Unfinished(f"No explanation within {wait:g} s.", job_id=job_id)
    if found.status == "failed":
        raise Failed(found.error or "It could not be explained.", job_id=job_id, code="failed")
    if not as_json:
        _show(found, screen)


def _show(found: Explanation, screen: Screen) -> None:
    if screen.is_terminal:
        screen.answer(f"Why {found.category} ({found.prdtypecode})?")
        for name, probability in found.probabilities.items():
            screen.answer(f"  by the {name} alone: {percent(probability)}")
    strongest = sorted(found.words.items(), key=lambda word: -abs(word[1]))[:SHOWN]
    screen.table(("words", "effect"), [(text, f"{effect:+.2f}") for text, effect in strongest])
    if screen.is_terminal and found.strongest_cell:
        row, column = found.strongest_cell
        size = len(found.grid)
        screen.answer(
            f"In the image, row {row} and column {column} of {size} x {size} parts count most."
        )
