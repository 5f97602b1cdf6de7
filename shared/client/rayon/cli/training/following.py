"""Display of a training run: bars and the log on a terminal, otherwise lines, on stderr."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from rayon.cli import interrupts
from rayon.cli.screen import Screen, duration, printable
from rayon.training import TrainingRun

OnRun = Callable[[TrainingRun], None]

#: Interval between two lines about the same step without a terminal.
LINE_SECONDS = 15.0
#: Characters of a stage beside the bars, for a terminal of 80 columns.
STAGE_CHARACTERS = 46


@contextmanager
def following(screen: Screen) -> Iterator[OnRun]:
    """Yield a callback that shows the states of a run, and also raises a discarded Ctrl-C."""
    if not screen.errors.is_terminal:
        yield Lines(screen)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=8),
        TextColumn("{task.fields[amount]}", style="dim"),
    )
    with RichProgress(*columns, console=screen.errors) as bars:
        yield Bars(bars, screen)


class Log:
    """The lines of a log that are new since the last look."""

    def __init__(self) -> None:
        self._seen: Sequence[str] = ()

    def new(self, lines: Sequence[str]) -> Sequence[str]:
        """Return the lines after those of the last look; the service keeps only the last ones."""
        seen, self._seen = self._seen, lines
        for start in range(len(seen)):
            overlap = len(seen) - start
            if tuple(seen[start:]) == tuple(lines[:overlap]):
                return lines[overlap:]
        return lines


class Bars:
    """A bar for the steps of a run, and one for the images or epochs of the current step."""

    def __init__(self, bars: RichProgress, screen: Screen) -> None:
        self._bars = bars
        self._screen = screen
        self._log = Log()
        self._all = bars.add_task("Steps", total=None, amount="")
        self._step = bars.add_task("Waiting for the trainer", total=None, amount="")

    def __call__(self, run: TrainingRun) -> None:
        """Print new lines of the log, and update the bars."""
        interrupts.require_none()
        for line in self._log.new(run.log):
            text = Text(printable(line), style="dim")
            self._screen.errors.print(text, no_wrap=True, overflow="ellipsis")
        self._bars.update(
            self._all,
            total=_total(run, run.of if _has_steps(run) else 0),
            completed=run.of if run.is_final else run.done,
            amount=_steps(run),
        )
        stage = _stage(run)
        short = stage if len(stage) <= STAGE_CHARACTERS else stage[: STAGE_CHARACTERS - 1] + "…"
        self._bars.update(
            self._step,
            description=short,
            total=_total(run, run.parts),
            completed=run.parts if run.is_final else run.part,
            amount=_within(run),
        )


class Lines:
    """Lines about a run: the log, each stage as it begins, and its progress from time to time."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._log = Log()
        self._stage = ""
        self._printed_at = 0.0

    def __call__(self, run: TrainingRun) -> None:
        """Print new lines of the log, and a line about the stage if one is due."""
        interrupts.require_none()
        for line in self._log.new(run.log):
            self._screen.say(f"  {line}")
        stage, now = _stage(run), time.monotonic()
        if stage == self._stage and now < self._printed_at + LINE_SECONDS:
            return
        self._stage, self._printed_at = stage, now
        parts = ", ".join(filter(None, (_within(run), _steps(run))))
        self._screen.say(": ".join(filter(None, (stage, parts))))


def _has_steps(run: TrainingRun) -> bool:
    # The registration and other work around the training itself are shown as one step.
    return run.of > 1


def _steps(run: TrainingRun) -> str:
    """Describe the finished steps, such as `4 of about 39 steps`."""
    return f"{run.done} of about {run.of} steps" if _has_steps(run) and not run.is_final else ""


def _total(run: TrainingRun, count: int) -> int | None:
    """Return the total of a bar; None for one that moves, because the total is unknown."""
    return count or (0 if run.is_final else None)


def _stage(run: TrainingRun) -> str:
    if run.status == "queued":
        return "Waiting for the trainer"
    if run.is_final:
        return run.status.capitalize()
    return run.stage or "Starting"


def _within(run: TrainingRun) -> str:
    """Describe the progress within a step, such as `29 %, 50 s left`."""
    if not run.parts or run.is_final:
        return ""
    parts = [f"{100 * run.part // run.parts} %"]
    if run.seconds_left is not None:
        parts.append(f"{duration(run.seconds_left)} left")
    return ", ".join(parts)
