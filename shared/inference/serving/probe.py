"""Scoring of a release folder from the command line: JSON lines in, JSON lines out.

    echo '{"designation": "Piscine ronde"}' | python -m worker_text.probe FOLDER

The first line out says that the release is loaded; then comes one line for each line in, with the
probabilities, the leading category, and how long that product alone took: on the clock, and as CPU
time of all threads.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import RayonError
from shared.inference.manifest import ReleaseManifest

Asked = Mapping[str, Any]
Floats = NDArray[np.float32]
Answer = Callable[[Asked], Floats]


def probe(arguments: list[str], load: Callable[[Path, ReleaseManifest], Answer]) -> int:
    """Score each line of standard input; return the exit code.

    Args:
        arguments: The folder of a release.
        load: Loads it as the worker does; the function that it returns gives the probabilities
            `(classes,)` of one line.
    """
    if len(arguments) != 1:
        sys.stderr.write("Expected the folder of a release.\n")
        return 2
    started = time.perf_counter()
    try:
        manifest = ReleaseManifest.read(Path(arguments[0]))
        answer = load(Path(arguments[0]), manifest)
    except Exception as error:
        # Any fault of a release is reported in one line.
        sys.stderr.write(f"error: {_line(error)}\n")
        return 1
    _tell({"release": manifest.name, "milliseconds": _since(started)})
    for line in sys.stdin:
        _tell(_answered(line, manifest, answer))
    return 0


def _answered(line: str, manifest: ReleaseManifest, answer: Answer) -> dict[str, Any]:
    started, used = time.perf_counter(), time.process_time()
    try:
        probabilities = answer(json.loads(line))
    except (RayonError, KeyError, TypeError, ValueError, OSError) as error:
        return {"error": _line(error)}
    milliseconds = _since(started)
    cpu_milliseconds = round((time.process_time() - used) * 1000, 3)
    return {
        "prdtypecode": manifest.categories[int(probabilities.argmax())].code,
        "probabilities": probabilities.astype(float).tolist(),
        "milliseconds": milliseconds,
        "cpu_milliseconds": cpu_milliseconds,
    }


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _tell(line: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 3)
