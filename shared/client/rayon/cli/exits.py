"""Exit codes of the commands and the advice printed after an error."""

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

- 0 success
- 1 some rows failed or were rejected, more answers than --max-degraded do not use every input,
  there is no answer, a dataset cannot be trained on, a training did not succeed, or a release does
  not serve yet
- 2 wrong usage, or a file that cannot be read or written
- 3 not signed in
- 4 refused by the service
- 5 unreachable, unavailable or busy: the same command may succeed later
- 130 stopped with Ctrl-C
"""


class Commands(TyperGroup):
    """Command group that turns errors into a message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except RayonError as error:
            _end(error, exit_code(error))
        except BrokenPipeError:
            raise  # The reader closed the pipe; Typer exits quietly.
        except OSError as error:
            _end(error, USAGE)


def exit_code(error: RayonError) -> int:
    """Return the exit code for an error."""
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
    for line in _advice(error):
        screen.say(f"  {line}")
    raise Exit(code)


def _advice(error: RayonError | OSError) -> list[str]:
    """Return the invalid fields and the advice for an error, one per line."""
    match error:
        case SignedOut() if "rayon login" not in str(error):
            return ["Sign in with `rayon login`."]
        case Refused(status=403):
            return ["Your account lacks the permission for this; ask an admin."]
        case Refused(errors=errors):
            return [
                f"{one.field}: {one.message}" for one in errors if one.message not in str(error)
            ]
        case Limited(retry_after=float(seconds)):
            return [f"Try again in {seconds:.0f} s."]
        case Unreachable():
            return ["Is the service running and the URL correct? Try again later."]
        case Unfinished(job_id=job_id):
            return [f"The job continues. Check it later: rayon jobs {job_id}"]
        case Failed(job_id=job_id, code=code):
            return [f"Job {job_id} ended with `{code}`."]
        case _:
            return []
