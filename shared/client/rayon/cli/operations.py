"""`rayon queues`, `categories`, `releases`."""

import time
from typing import Annotated

from typer import Option

from rayon.answers import Queues, Release
from rayon.cli.options import AsJson, ReleaseName, Url, connected
from rayon.cli.screen import Screen, duration

WATCH_SECONDS = 2.0


def queues(
    watch: Annotated[bool, Option("--watch", "-w", help="Show it anew until Ctrl-C.")] = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Show what waits, what runs and who works; for operators."""
    screen = Screen()
    with connected(url, screen) as client:
        while True:
            found = client.queues()
            if watch and screen.out.is_terminal:
                screen.out.clear()
            if as_json:
                screen.json(found.raw)
            else:
                _show(found, screen)
            if not watch:
                return
            time.sleep(WATCH_SECONDS)


def categories(release: ReleaseName = "champion", as_json: AsJson = False, url: Url = None) -> None:
    """List what can be predicted."""
    screen = Screen()
    with connected(url, screen) as client:
        found = client.categories(release)
    if as_json:
        screen.json([vars(one) for one in found])
    else:
        screen.table(("code", "category"), ((one.prdtypecode, one.category) for one in found))


def releases(as_json: AsJson = False, url: Url = None) -> None:
    """List the releases of the models, newest first."""
    screen = Screen()
    with connected(url, screen) as client:
        found = client.releases()
    if as_json:
        screen.json([one.raw for one in found])
        return
    screen.table(("version", "serves as", "created", "figures", "description"), map(_row, found))


def _show(found: Queues, screen: Screen) -> None:
    rows = (
        (
            one.queue,
            one.waiting,
            one.running,
            duration(one.oldest_seconds) if one.oldest_seconds is not None else "",
        )
        for one in found.items
    )
    screen.table(("queue", "waiting", "running", "oldest"), rows)
    screen.say(f"{found.jobs_queued:,} jobs unfinished, {len(found.workers)} workers")


def _row(release: Release) -> tuple[object, ...]:
    figures = ", ".join(f"{name} {value:.3g}" for name, value in sorted(release.figures.items()))
    return (
        release.version,
        "rejected" if release.rejected else ", ".join(release.aliases),
        release.created_at,
        figures,
        release.rejected or release.description,
    )
