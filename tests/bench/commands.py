"""Entry point of the commands."""

import sys
from collections.abc import Callable
from typing import NoReturn

from shared.errors import RayonError
from shared.invalid_settings import run_program


def run_command(main: Callable[[], int]) -> NoReturn:
    """Exit with the code of a command; an expected error is one line, without a traceback."""

    def checked() -> int:
        try:
            return main()
        except RayonError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1

    run_program(checked)
