"""How a command ends: one code per kind of end, and a sentence that says what to do next."""

from typing import Any, NoReturn

from typer import Exit
from typer.core import TyperGroup

from rayon.cli.screen import Screen
from rayon.errors import (
    Failed,
    Limited,
    RayonError,
    Refused,
    SignedOut,
    Unfinished,
    Unreachable,
)

DONE, INCOMPLETE, USAGE, SIGNED_OUT, REFUSED, UNREACHABLE = range(6)

EPILOG = """
Exit codes, for scripts:

- 0 done
- 1 some rows failed or were rejected, or there is no answer
- 2 wrong usage, or a file that cannot be read or written
- 3 not signed in
- 4 refused by the service
- 5 unreachable, unavailable or busy: the same command may succeed later
- 130 stopped with Ctrl-C
"""


class Commands(TyperGroup):
    """Ends every command that meets an error with its code and in plain words."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except RayonError as error:
            _end(error, exit_code(error))
        except BrokenPipeError:
            raise  # Whoever reads our output has read enough; Typer ends quietly.
        except OSError as error:
            _end(error, USAGE)


def exit_code(error: RayonError) -> int:
    """The code that a script sees."""
    match error:
        case SignedOut():
            return SIGNED_OUT
        case Refused():
            return REFUSED
        case Limited() | Unreachable() | Unfinished():
            return UNREACHABLE
        case Failed():
            return INCOMPLETE
        case _:
            return USAGE


def _end(error: RayonError | OSError, code: int) -> NoReturn:
    screen = Screen()
    screen.say(f"Error: {error}")
    for line in _more(error):
        screen.say(f"  {line}")
    raise Exit(code)


def _more(error: RayonError | OSError) -> list[str]:
    """Which fields were wrong, and what to do next."""
    match error:
        case SignedOut() if "rayon login" not in str(error):
            return ["Sign in with `rayon login`."]
        case Refused(status=403):
            return ["Your account may not do this; ask an admin."]
        case Refused(errors=errors):
            return [
                f"{one.field}: {one.message}" for one in errors if one.message not in str(error)
            ]
        case Limited(retry_after=float(seconds)):
            return [f"Try again in {seconds:.0f} s."]
        case Unreachable():
            return ["Is the service running, and the address right? Try again later."]
        case Unfinished(job_id=job_id):
            return [f"It goes on; ask later: rayon jobs {job_id}"]
        case Failed(job_id=job_id, code=code):
            return [f"Job {job_id} ended with `{code}`."]
        case _:
            return []
