"""Progress of a catalog on stderr: bars on a terminal, otherwise occasional lines."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Task, TaskID, TextColumn
from rich.progress import Progress as RichProgress

from rayon.catalogs import OnProgress, Progress
from rayon.cli import interrupts
from rayon.cli.screen import Screen, duration

#: Interval between two lines without a terminal.
LINE_SECONDS = 15.0
#: A rate measured over less time than this is not reliable.
MEASURED_SECONDS = 0.5

WORDS = {
    "reading": "Reading",
    "uploading": "Uploading",
    "validating": "Checking",
    "running": "Classifying",
}


@contextmanager
def progress_shown(screen: Screen) -> Iterator[OnProgress]:
    """Yield the progress callback, which also raises a discarded Ctrl-C."""
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
    """Progress bars, one per stage."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._pace = Pace()

    @property
    def tasks(self) -> list[Task]:
        """Bars in display order."""
        return self._bars.tasks

    def __call__(self, progress: Progress) -> None:
        """Update the bar of the current stage."""
        interrupts.require_none()
        task = self._tasks.get(progress.stage)
        if task is None:
            for ended in self._tasks.values():
                # A stage without a known total would leave its bar moving forever.
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
    """Progress lines: one when a stage begins, then one every few seconds."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._pace = Pace()
        self._stage = ""
        self._printed_at = 0.0

    def __call__(self, progress: Progress) -> None:
        """Print a line if one is due."""
        interrupts.require_none()
        now = time.monotonic()
        pace = self._pace.of(progress)
        if progress.stage == self._stage and now < self._printed_at + LINE_SECONDS:
            return
        self._stage, self._printed_at = progress.stage, now
        parts = ", ".join(part for part in (amount(progress), pace) if part)
        self._screen.say(": ".join(part for part in (WORDS[progress.stage], parts) if part))


class Pace:
    """Rate and remaining time: reported by the service for rows, measured for bytes."""

    def __init__(self) -> None:
        self._stage = ""
        self._began_at = 0.0

    def of(self, progress: Progress) -> str:
        """Describe the pace, such as `340 rows/s, 2 min 5 s left`."""
        if progress.stage != self._stage:
            self._stage, self._began_at = progress.stage, time.monotonic()
        if progress.catalog is None:
            if not progress.total:
                return ""
            seconds = time.monotonic() - self._began_at
            return f"{size(progress.done / seconds)}/s" if seconds > MEASURED_SECONDS else ""
        rate, left = progress.catalog.rows_per_second, progress.catalog.eta_seconds
        parts = [f"{rate:,.0f} rows/s" if rate >= 10 else f"{rate:.1f} rows/s"] if rate else []
        if left is not None and not progress.catalog.is_final:
            parts.append(f"{duration(left)} left")
        return ", ".join(parts)


def amount(progress: Progress) -> str:
    """Describe the amount, such as `1,200 of 50,000 rows` or `3.1 MB of 20.0 MB`."""
    if not progress.total:
        return ""
    if progress.catalog is None:
        return f"{size(progress.done)} of {size(progress.total)}"
    return f"{progress.done:,} of {progress.total:,} rows"


def size(count: float) -> str:
    """Format a number of bytes, such as `36 kB` or `3.1 MB`."""
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"
