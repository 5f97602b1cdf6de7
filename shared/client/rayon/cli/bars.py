"""Shows how far a catalog is: bars on a terminal, else a line now and then. All on stderr."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Task, TaskID, TextColumn
from rich.progress import Progress as RichProgress

from rayon.catalogs import OnProgress, Progress
from rayon.cli import interrupts
from rayon.cli.screen import Screen, duration

#: Without a terminal, seconds between two lines.
LINE_SECONDS = 15.0
#: A rate that was measured for less than this says nothing.
MEASURED_SECONDS = 0.5

WORDS = {
    "reading": "Reading",
    "uploading": "Uploading",
    "validating": "Checking",
    "running": "Classifying",
}


@contextmanager
def progress_shown(screen: Screen) -> Iterator[OnProgress]:
    """Give what is to be told of the progress; it hears Ctrl-C too."""
    if not screen.errors.is_terminal:
        yield Lines(screen)
        return
    columns = (
        TextColumn("{task.description:<11}"),
        BarColumn(),
        TextColumn("{task.fields[amount]}"),
        TextColumn("{task.fields[pace]}", style="dim"),
    )
    with RichProgress(*columns, console=screen.errors) as bars:
        yield Bars(bars)


class Bars:
    """One bar per stage."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._pace = Pace()

    @property
    def tasks(self) -> list[Task]:
        """The bars, in their order."""
        return self._bars.tasks

    def __call__(self, progress: Progress) -> None:
        """Move the bar."""
        interrupts.require_none()
        task = self._tasks.get(progress.stage)
        if task is None:
            for ended in self._tasks.values():
                # Some stages never say how long they are; their bars would move for ever.
                self._bars.update(ended, total=1, completed=1, pace="")
            task = self._bars.add_task(WORDS[progress.stage], total=None, amount="", pace="")
            self._tasks[progress.stage] = task
        self._bars.update(
            task,
            total=progress.total or None,
            completed=progress.done,
            amount=amount(progress),
            pace=self._pace.of(progress),
        )


class Lines:
    """A line when a stage begins, and every few seconds."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._pace = Pace()
        self._stage = ""
        self._told_at = 0.0

    def __call__(self, progress: Progress) -> None:
        """Print a line if it is time to."""
        interrupts.require_none()
        now = time.monotonic()
        pace = self._pace.of(progress)
        if progress.stage == self._stage and now < self._told_at + LINE_SECONDS:
            return
        self._stage, self._told_at = progress.stage, now
        parts = ", ".join(part for part in (amount(progress), pace) if part)
        self._screen.say(": ".join(part for part in (WORDS[progress.stage], parts) if part))


class Pace:
    """How fast it goes and how long it takes: for rows as the service says, for bytes measured."""

    def __init__(self) -> None:
        self._stage = ""
        self._began_at = 0.0

    def of(self, progress: Progress) -> str:
        """Such as `340 rows/s, 2 min 5 s left`."""
        if progress.stage != self._stage:
            self._stage, self._began_at = progress.stage, time.monotonic()
        if progress.catalog is None:
            seconds = time.monotonic() - self._began_at
            return f"{size(progress.done / seconds)}/s" if seconds > MEASURED_SECONDS else ""
        rate, left = progress.catalog.rows_per_second, progress.catalog.eta_seconds
        parts = [f"{rate:,.0f} rows/s" if rate >= 10 else f"{rate:.1f} rows/s"] if rate else []
        if left is not None and not progress.catalog.is_final:
            parts.append(f"{duration(left)} left")
        return ", ".join(parts)


def amount(progress: Progress) -> str:
    """Such as `1,200 of 50,000 rows` or `3.1 MB of 20.0 MB`."""
    if progress.catalog is None:
        return f"{size(progress.done)} of {size(progress.total)}"
    if not progress.total:
        return ""
    return f"{progress.done:,} of {progress.total:,} rows"


def size(count: float) -> str:
    """Such as `36 kB` or `3.1 MB`."""
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"
