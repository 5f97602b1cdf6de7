"""The quick line-up of a training run: a first release of a shop's own, before the full line-up.

It passes the same gate as the full one. Its state is in files of the run's folder, so that an
attempt that takes over repeats nothing; the version and the verdict in the run's row are those of
the full line-up.
"""

from pathlib import Path

#: Folder of the quick line-up in that of the run, and the file with its outcome.
FOLDER, OUTCOME = "quick", "outcome.txt"
#: Suffix of the release's description, after that of the run.
DESCRIPTION = ", quick line-up"


def kept_outcome(folder: Path) -> str | None:
    """Return the outcome for a person, empty if it was skipped; `None` while it is unfinished."""
    path = folder / OUTCOME
    return path.read_text("utf-8") if path.exists() else None


def keep_outcome(folder: Path, outcome: str) -> None:
    """Keep the outcome for later attempts."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / OUTCOME).write_text(outcome, "utf-8")
