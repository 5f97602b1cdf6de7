"""Lines for the terminal of the launcher."""

import sys
from contextlib import suppress


def say(line: str) -> None:
    """Print a line at once; a terminal that is gone or a file on a full disk loses it."""
    with suppress(OSError, ValueError):
        print(line, file=sys.stdout, flush=True)
