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
from rayon.operations import DeadLetter, Loop, Queue, Queues

WATCH_SECONDS = 2.0
COLUMNS = ("queue", "waiting", "running", "oldest", "per second", "workers")
PROCESS_COLUMNS = ("process", "state", "heartbeat", "last success")


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
    """Show the queues with their messages and workers, and all processes with their progress.

    All messages are counted at the same moment. Workers that are connected but not consuming,
    queues without a worker, processes that are silent or missing, and loops that fail are marked.
    Requires the operator role.
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
    """Render queues, workers and processes for a terminal; what needs attention is red."""
    table = _table(COLUMNS)
    for one in (*found.items, found.totals):
        style = "bold" if one is found.totals else "red" if _needs_attention(one) else ""
        _add_row(table, _queue_row(one), style)
    alarms = [Text(printable(line), style="red") for line in _alarms(found)]
    return Group(table, Text(_sentence(found), style="dim"), *_processes(found), *alarms)


def _processes(found: Queues) -> list[Table]:
    """Render the processes with their state and the latest success of their loops."""
    table = _table(PROCESS_COLUMNS)
    for one in found.processes:
        success = one.seconds_since_success
        age = duration(success) if success is not None else ""
        cells = (one.process, one.state, duration(one.seconds_since_heartbeat), age)
        _add_row(table, cells, "" if one.state == "ok" else "red")
    for process in found.missing_processes:
        _add_row(table, (process, "missing", "", ""), "red")
    return [table] if table.rows else []


def _table(columns: tuple[str, ...]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for place, column in enumerate(columns):
        table.add_column(column, no_wrap=True, justify="right" if place else "left")
    return table


def _add_row(table: Table, cells: tuple[object, ...], style: str) -> None:
    table.add_row(*(Text(printable(str(cell))) for cell in cells), style=style)


def _alarms(found: Queues) -> list[str]:
    """Describe what needs attention: deaf workers, unloadable releases, processes and loops."""
    deaf = [
        f"{one.name} is connected but not consuming" for one in found.workers if one.state == "deaf"
    ]
    unloadable = [
        f"{worker.name} cannot load release {version}: {reason}"
        for worker in found.workers
        for version, reason in worker.unloadable.items()
    ]
    silent = [
        f"{one.name} is silent for {duration(one.seconds_since_heartbeat)}"
        for one in found.processes
        if one.state == "silent"
    ]
    loops = [
        f"{one.name}: {line}" for one in found.processes for loop in one.loops for line in _of(loop)
    ]
    absent = [f"{process} is missing" for process in found.missing_processes]
    return [*deaf, *unloadable, *silent, *loops, *absent]


def _of(loop: Loop) -> Iterator[str]:
    if loop.state == "failing":
        row = f" at {loop.row}" if loop.row else ""
        yield f"{loop.loop} failed {loop.failures} times in a row{row}: {loop.failure}"
    if loop.state == "late":
        yield f"{loop.loop} without success for {duration(loop.seconds_since_success)}"
    if loop.rows_skipped:
        yield f"{loop.loop} skipped {loop.rows_skipped} rows, the last was {loop.skipped}"


def _list_without_command(context: Context, url: Url = None) -> None:
    if context.invoked_subcommand is None:
        list_dead_letters(url=url)


@contextmanager
def _board(screen: Screen, *, as_json: bool) -> Iterator[Live | None]:
    """Yield a live display, or None if the output is no terminal."""
    if as_json or not screen.is_terminal:
        yield None
        return
    with Live(console=screen.out, auto_refresh=False) as live:
        yield live


def _show(found: Queues, screen: Screen, *, as_json: bool) -> None:
    if as_json:
        screen.json(found.raw)
        return
    if screen.is_terminal:
        screen.out.print(drawn(found))
        return
    screen.table(COLUMNS, map(_queue_row, found.items))
    screen.say(_sentence(found))
    for line in _alarms(found):
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
