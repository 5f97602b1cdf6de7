"""Entry point of the commands."""

import sys
from collections.abc import Callable
from typing import NoReturn

from shared.errors import RayonError


def run_command(main: Callable[[], int]) -> NoReturn:
    """Exit with the code of a command; an expected error is one line, without a traceback."""
    try:
        code = main()
    except RayonError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 1
    sys.exit(code)
