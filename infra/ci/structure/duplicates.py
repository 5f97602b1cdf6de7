"""Duplicated lines, counted by `symilar` of pylint."""

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from infra.ci.structure.checkout import Source

#: symilar's own default: fewer equal lines are no duplicate.
LEAST_LINES = 4
OPTIONS = (
    f"--duplicates={LEAST_LINES}",
    *("--ignore-comments", "--ignore-docstrings", "--ignore-imports", "--ignore-signatures"),
)


def duplicates(folder: Path, sources: Iterable[Source]) -> tuple[int, str]:
    """Count lines that repeat those of another file, and return symilar's list of them.

    Comments, docstrings, imports and signatures are not compared.
    """
    paths = [source.path for source in sources]
    if not paths:
        return 0, ""
    command = [str(Path(sys.executable).parent / "symilar"), *OPTIONS, *paths]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=True, encoding="utf-8")
    listed, _, total = done.stdout.rpartition("TOTAL ")
    found = re.match(r"lines=\d+ duplicates=(\d+)", total)
    if found is None:
        raise ValueError(f"Expected `TOTAL lines=… duplicates=…`. Received: {done.stdout!r}")
    return int(found[1]), listed
