"""Output of the commands: answers on stdout, everything else on stderr.

A terminal receives tables and colours; a pipe receives tab-separated lines without a heading.
"""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

# Rich takes longer to import than a short command takes to run, so only tables and bars load it.
if TYPE_CHECKING:
    from rich.console import Console

#: Variables with which a user overrides Rich's detection of a terminal.
TERMINAL_VARIABLES = ("FORCE_COLOR", "TTY_COMPATIBLE")


class Screen:
    """Standard output and standard error of a command."""

    @cached_property
    def errors(self) -> "Console":
        """Standard error, for bars and messages above them."""
        return _console(stderr=True)

    @cached_property
    def out(self) -> "Console":
        """Standard output, for tables."""
        return _console(stderr=False)

    @property
    def is_terminal(self) -> bool:
        """True if stdout is a terminal."""
        if any(name in os.environ for name in TERMINAL_VARIABLES):
            return self.out.is_terminal
        return sys.stdout.isatty()

    def say(self, text: str) -> None:
        """Print a message to stderr."""
        if "errors" in self.__dict__:
            # The message has to appear above the bars that this console may be drawing.
            self.errors.print(printable(text), soft_wrap=True)
        else:
            print(printable(text), file=sys.stderr, flush=True)  # noqa: T201  # output of a command

    def answer(self, text: str) -> None:
        """Print a part of the answer to stdout."""
        print(printable(text), flush=True)  # noqa: T201  # output of a command

    def json(self, data: object) -> None:
        """Print the whole answer to stdout as JSON."""
        sys.stdout.write(json.dumps(data, ensure_ascii=False, indent=1, default=str) + "\n")
        sys.stdout.flush()

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print a table, or tab-separated lines if stdout is no terminal."""
        lines = [[printable(_cell(cell)) for cell in row] for row in rows]
        if not self.is_terminal:
            for line in lines:
                sys.stdout.write("\t".join(line) + "\n")
            return
        from rich.table import Table

        table = Table(box=None, header_style="bold", pad_edge=False)
        for number, column in enumerate(columns):
            # The first column holds IDs, which users copy into the next command.
            table.add_column(column, no_wrap=number == 0)
        for line in lines:
            table.add_row(*line)
        self.out.print(table)


def printable(text: str) -> str:
    """Replace control characters, because file names and cells are untrusted input."""
    return "".join(
        char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text
    )


def duration(seconds: float) -> str:
    """Format a duration, such as `2 h 5 min`, `3 min 20 s` or `8 s`."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def percent(share: float) -> str:
    """Format a share as a percentage, such as `97 %`."""
    return f"{share:.0%}".replace("%", " %")


def place(row: object, line: object = None) -> str:
    """Return where a row is: its line in the file or else, in other words, its number."""
    return f"line {line}" if line else f"product {row}"


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return str(value)


def _console(*, stderr: bool) -> "Console":
    from rich.console import Console

    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)
