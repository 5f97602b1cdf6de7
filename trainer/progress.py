"""How far a training is: a line for people, and a JSON line for the service that follows it."""

import json
from collections.abc import Callable
from pathlib import Path

from shared.db.models import now


def telling(path: Path | None) -> Callable[[str], None]:
    """Make what a pipeline calls with each step: it prints and, given a file, adds to it.

    A line of the file has `step`, `done` (how many steps are behind), `of` and `at`.
    """
    done = 0

    def tell(step: str) -> None:
        nonlocal done
        print(step, flush=True)  # noqa: T201 - the log of a command
        if path is not None:
            line = {"step": step, "done": done, "of": None, "at": now().isoformat()}
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        done += 1

    return tell
