"""What a person or a script sees: answers on stdout, all else on stderr.

A terminal gets tables and colours; a pipe gets tab-separated lines, without a heading.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table


class Screen:
    """Both outputs of a command."""

    def __init__(self) -> None:
        self.errors = Console(stderr=True, markup=False, highlight=False, emoji=False)
        self.out = Console(markup=False, highlight=False, emoji=False)

    def say(self, text: str) -> None:
        """Tell a person something that is not the answer."""
        self.errors.print(printable(text), soft_wrap=True)

    def answer(self, text: str) -> None:
        """Give a part of the answer."""
        self.out.print(printable(text), soft_wrap=True)

    def json(self, said: object) -> None:
        """Give the whole answer to a script."""
        sys.stdout.write(json.dumps(said, ensure_ascii=False, indent=1, default=str) + "\n")
        sys.stdout.flush()

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Give a list."""
        lines = [[printable(_cell(cell)) for cell in row] for row in rows]
        if not self.out.is_terminal:
            for line in lines:
                sys.stdout.write("\t".join(line) + "\n")
            return
        table = Table(box=None, header_style="bold", pad_edge=False)
        for number, column in enumerate(columns):
            # The first names the thing, and is copied into the next command.
            table.add_column(column, no_wrap=number == 0)
        for line in lines:
            table.add_row(*line)
        self.out.print(table)


def printable(text: str) -> str:
    """A text without what could steer a terminal; file names and cells come from anywhere."""
    return "".join(
        char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text
    )


def duration(seconds: float) -> str:
    """Such as `2 h 5 min`, `3 min 20 s`, `8 s`."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def percent(share: float) -> str:
    """Such as `97 %`."""
    return f"{share:.0%}".replace("%", " %")


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return str(value)
