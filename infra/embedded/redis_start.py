"""Start Redis; if it could not read its append-only file, set the file aside first.

    python -m infra.embedded.redis_start redis-server redis.conf redis.log

Redis checks the file itself, completely, and ends if it cannot read it. supervisord starts it
again, with this module, which finds the reason in the log. The file is no loss: all jobs are in the
database, and the scheduler sends unfinished ones again.
"""

import os
import re
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

#: Names of the file: until Redis 6.2, and since 7.0.
NAMES = ("appendonly.aof", "appendonlydir")
#: Folder of the files set aside, and how many are kept.
ASIDE, KEPT = "set-aside", 3
#: Log lines of Redis about an append-only file that it cannot read. A crash while it reads the
#: file has the same cause.
UNREADABLE = re.compile(
    r"reading the append only file|append log file|AOF loading (aborted|error)|manifest file"
    r"|Internal error in RDB|rdb file reading failure|Wrong RDB checksum|Unknown RDB"
    r"|REDIS BUG REPORT START"
)
STARTING, READY = "Redis is starting", "Ready to accept connections"
NOTE = "WARNING Redis could not read its append-only file"
#: The end of the log that is read; the report of a crash takes tens of kilobytes.
END_BYTES = 256 * 1024


def main() -> None:
    """Set an unreadable file aside and become Redis."""
    binary, configuration, log = sys.argv[1:]
    if could_not_read(end_of(Path(log))):
        kept = set_aside(Path(configuration).parent)
        print(
            f"{NOTE}. It was moved to {kept}, and Redis starts empty. Unfinished jobs are sent "
            "again, the first within a minute.",
            flush=True,
        )
    os.execv(binary, [binary, configuration])  # noqa: S606  # nosec B606  # the path of redis_binary


def could_not_read(log: str) -> bool:
    """Return True if the last start in the log of Redis failed because of the file."""
    last = log.rpartition(STARTING)[2]
    return READY not in last and NOTE not in last and UNREADABLE.search(last) is not None


def end_of(log: Path, start: int = 0) -> str:
    """Return the end of a log, at most from an offset on."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(start, log.stat().st_size - END_BYTES, 0))
        return file.read().decode(errors="replace")


def set_aside(folder: Path) -> Path:
    """Move the file to a folder of its own, delete the oldest ones, and return the new folder."""
    parent = folder / ASIDE
    kept = parent / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    kept.mkdir(parents=True)
    for name in NAMES:
        if (folder / name).exists():
            (folder / name).rename(kept / name)
    for old in sorted(parent.iterdir())[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return kept


def notes(log: Path, start: int) -> list[str]:
    """Return what this module wrote to the log after an offset."""
    return [line for line in end_of(log, start).splitlines() if line.startswith(NOTE)]


if __name__ == "__main__":
    main()
