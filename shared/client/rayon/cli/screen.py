"""Output of the commands: answers on stdout, everything else on stderr.

A terminal receives tables and colours; a pipe receives tab-separated lines without a heading.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table


class Screen:
    """Standard output and standard error of a command."""

    def __init__(self) -> None:
        self.errors = Console(stderr=True, markup=False, highlight=False, emoji=False)
        self.out = Console(markup=False, highlight=False, emoji=False)

    def say(self, text: str) -> None:
        """Print a message to stderr."""
        self.errors.print(printable(text), soft_wrap=True)

    def answer(self, text: str) -> None:
        """Print a part of the answer to stdout."""
        self.out.print(printable(text), soft_wrap=True)

    def json(self, data: object) -> None:
        """Print the whole answer to stdout as JSON."""
        sys.stdout.write(json.dumps(data, ensure_ascii=False, indent=1, default=str) + "\n")
        sys.stdout.flush()

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print a table, or tab-separated lines if stdout is no terminal."""
        lines = [[printable(_cell(cell)) for cell in row] for row in rows]
        if not self.out.is_terminal:
            for line in lines:
                sys.stdout.write("\t".join(line) + "\n")
            return
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


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return str(value)
