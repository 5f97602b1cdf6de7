"""Commands `rayon queues` and `rayon dead-letters`, for operators."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from time import sleep
from typing import Annotated

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text
from typer import Argument, BadParameter, Context, Option, Typer

from rayon.cli import interrupts
from rayon.cli.exits import EPILOG
from rayon.cli.options import AsJson, Url, connected
from rayon.cli.screen import Screen, duration, printable
from rayon.operations import DeadLetter, Queue, Queues

WATCH_SECONDS = 2.0
COLUMNS = ("queue", "waiting", "running", "oldest", "per second", "workers")


def queues(
    seconds: Annotated[
        float | None,
        Argument(min=0.1, metavar="[SECONDS]", help="Refresh interval of --watch. Defaults to 2."),
    ] = None,
    watch: Annotated[
        bool, Option("--watch", "-w", help="Refresh the output until Ctrl-C.")
    ] = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Show the queues with their waiting and running messages and their workers.

    All messages are counted at the same moment. Workers that are connected but not consuming and
    queues without a worker are marked. Requires the operator role.
    """
    if seconds is not None and not watch:
        raise BadParameter("SECONDS requires --watch.")
    screen = Screen()
    with connected(url, screen) as client:
        if not watch:
            _show(client.queues(), screen, as_json=as_json)
            return
        with _board(screen, as_json=as_json) as board:
            while True:
                found = client.queues()
                interrupts.require_none()
                if board is None:
                    _show(found, screen, as_json=as_json)
                else:
                    board.update(drawn(found), refresh=True)
                sleep(seconds or WATCH_SECONDS)


def dead_letters_app() -> Typer:
    """Build the group of dead letter commands; without a command it lists them."""
    app = Typer(
        name="dead-letters",
        help="List, show, replay or discard dead letters. Requires the operator role.",
        epilog=EPILOG,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(_list_without_command)
    for name, command in (
        ("list", list_dead_letters),
        ("show", show_dead_letter),
        ("replay", replay_dead_letters),
        ("discard", discard_dead_letters),
    ):
        app.command(name, epilog=EPILOG)(command)
    return app


def list_dead_letters(
    topic: Annotated[
        str | None, Option("--topic", help="List only this topic, such as score_text.")
    ] = None,
    limit: Annotated[
        int, Option("--limit", "-n", min=1, help="Maximum number of dead letters.")
    ] = 50,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """List the dead letters, newest first."""
    screen = Screen()
    with connected(url, screen) as client:
        found = list(islice(client.dead_letters(topic=topic), limit))
    if as_json:
        screen.json([one.raw for one in found])
        return
    screen.table(
        ("id", "topic", "parked", "deliveries", "jobs", "catalog", "error"), map(_letter_row, found)
    )


LetterId = Annotated[str, Argument(help="ID of a dead letter.", metavar="ID")]
LetterIds = Annotated[list[str], Argument(help="IDs of dead letters.", metavar="ID...")]


def show_dead_letter(letter_id: LetterId, as_json: AsJson = False, url: Url = None) -> None:
    """Show a dead letter and its payload."""
    screen = Screen()
    with connected(url, screen) as client:
        found = client.dead_letter(letter_id)
    if as_json:
        screen.json(found.raw)
        return
    jobs = ", ".join(f"{count} {status}" for status, count in sorted(found.jobs.items()))
    facts = {
        "id": found.id,
        "topic": found.topic,
        "parked": found.parked_at,
        "error": found.error,
        "deliveries": found.deliveries,
        "release": found.release,
        "catalog": found.catalog_id,
        "jobs": jobs or f"{len(found.job_ids)}, since deleted",
    }
    screen.table(("field", "value"), facts.items())
    screen.json(found.raw["payload"])


def replay_dead_letters(letter_ids: LetterIds, url: Url = None) -> None:
    """Send dead letters again and requeue their failed jobs."""
    screen = Screen()
    with connected(url, screen) as client:
        for letter_id in letter_ids:
            client.replay(letter_id)
            screen.answer(f"{letter_id} was sent again.")


def discard_dead_letters(letter_ids: LetterIds, url: Url = None) -> None:
    """Delete dead letters. Their jobs stay failed."""
    screen = Screen()
    with connected(url, screen) as client:
        for letter_id in letter_ids:
            client.discard(letter_id)
            screen.answer(f"{letter_id} was discarded.")


def drawn(found: Queues) -> Group:
    """Render queues and workers for a terminal; rows that need attention are red."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in COLUMNS:
        table.add_column(column, no_wrap=True, justify="left" if column == "queue" else "right")
    for one in (*found.items, found.totals):
        *cells, workers = _queue_row(one)
        style = "bold" if one is found.totals else "red" if _needs_attention(one) else ""
        table.add_row(*(Text(printable(str(cell))) for cell in (*cells, workers)), style=style)
    deaf = [
        Text(f"{printable(one.name)} is connected but not consuming", style="red")
        for one in found.workers
        if one.state == "deaf"
    ]
    unloadable = [Text(printable(line), style="red") for line in _unloadable(found)]
    return Group(table, Text(_sentence(found), style="dim"), *deaf, *unloadable)


def _unloadable(found: Queues) -> list[str]:
    return [
        f"{worker.name} cannot load release {version}: {reason}"
        for worker in found.workers
        for version, reason in worker.unloadable.items()
    ]


def _list_without_command(context: Context, url: Url = None) -> None:
    if context.invoked_subcommand is None:
        list_dead_letters(url=url)


@contextmanager
def _board(screen: Screen, *, as_json: bool) -> Iterator[Live | None]:
    """Yield a live display, or None if the output is no terminal."""
    if as_json or not screen.out.is_terminal:
        yield None
        return
    with Live(console=screen.out, auto_refresh=False) as live:
        yield live


def _show(found: Queues, screen: Screen, *, as_json: bool) -> None:
    if as_json:
        screen.json(found.raw)
        return
    if screen.out.is_terminal:
        screen.out.print(drawn(found))
        return
    screen.table(COLUMNS, map(_queue_row, found.items))
    screen.say(_sentence(found))
    for line in _unloadable(found):
        screen.say(line)


def _sentence(found: Queues) -> str:
    rows = f", {found.rows_to_feed:,} rows to feed" if found.rows_to_feed else ""
    return f"{found.jobs_queued:,} jobs unfinished{rows}, {len(found.workers)} workers"


def _queue_row(one: Queue) -> tuple[object, ...]:
    oldest = duration(one.oldest_seconds) if one.oldest_seconds is not None else ""
    rate = f"{one.messages_per_second:.1f}"
    return (one.queue, one.waiting, one.running, oldest, rate, _workers(one))


def _workers(one: Queue) -> str:
    """Describe the workers, such as `2`, `2, 1 not consuming` or `missing`."""
    deaf = one.workers - one.workers_proven
    if deaf:
        return f"{one.workers}, {deaf} not consuming"
    return str(one.workers) if one.workers else "missing"


def _needs_attention(one: Queue) -> bool:
    return not one.workers_proven or one.workers_proven < one.workers


def _letter_row(one: DeadLetter) -> tuple[object, ...]:
    return (
        one.id,
        one.topic,
        one.parked_at,
        one.deliveries,
        len(one.job_ids),
        one.catalog_id,
        one.error,
    )
