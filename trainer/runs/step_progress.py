"""Progress within a step of a training, read from the lines that the training logs.

A line with `120 of 700 images` or `epoch 2 of 5` states how far the current step is.
"""

import re
import time
from collections.abc import Callable, Sequence
from typing import Any

_UNITS = re.compile(r"(?P<done>\d+) of (?P<of>\d+) (?P<images>images)(?! cannot)\b")
_EPOCHS = re.compile(r"\bepoch (?P<done>\d+) of (?P<of>\d+)")
#: A rate measured over less time is not reliable.
MEASURED_SECONDS = 2.0


class StepProgress:
    """Adds the progress within the current step to the progress of a training.

    Args:
        clock: Monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._step: object = None
        self._began_at = 0.0
        #: Last line of the log when the step began; later lines are the step's.
        self._last: str | None = None

    def of(self, progress: dict[str, Any] | None, lines: Sequence[str]) -> dict[str, Any] | None:
        """Return the progress with `part` of `parts` (`unit`) and `seconds_left`, where known.

        Args:
            progress: Progress of the training: `step`, `done`, `of` and `at`.
            lines: Last lines of its log. The objects themselves tell old lines from new ones.
        """
        if progress is None:
            return None
        step = (progress.get("step"), progress.get("done"))
        if step != self._step:
            self._step, self._began_at = step, self._clock()
            self._last = lines[-1] if lines else None
        for line in reversed(lines):
            if line is self._last:
                break
            if found := _UNITS.search(line) or _EPOCHS.search(line):
                unit = found.groupdict().get("images") or "epochs"
                return progress | self._part(int(found["done"]), int(found["of"]), unit)
        return progress

    def _part(self, done: int, of: int, unit: str) -> dict[str, Any]:
        part: dict[str, Any] = {"part": done, "parts": of, "unit": unit}
        seconds = self._clock() - self._began_at
        if 0 < done < of and seconds >= MEASURED_SECONDS:
            part["seconds_left"] = round(seconds * (of - done) / done, 1)
        return part
