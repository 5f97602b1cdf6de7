"""supervisord, whose log files may lie on a full disk and which ends with the launcher.

    python -m infra.embedded.supervisord LAUNCHER_PID --nodaemon --silent --configuration FILE

supervisord reads the output of the programs and writes it to files. In its own class of log files,
an error of a rotation ends the reading, so that the program blocks once the pipe is full, and an
error that cannot be printed ends supervisord.
"""

import ctypes
import errno
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

from supervisor import loggers, supervisord  # type: ignore[import-untyped]

#: prctl(2): the signal that a process gets when its parent dies.
PR_SET_PDEATHSIG = 1
#: Errors of a full disk, which the launcher reports once for all files.
FULL = (errno.ENOSPC, errno.EDQUOT)


class LastingLog(loggers.RotatingFileHandler):  # type: ignore[misc]
    """Log file that loses lines while it cannot be written, and is opened again with the next."""

    stream: IO[bytes]

    def __init__(self, filename: str, *arguments: int | str) -> None:
        self._is_reported = False
        try:
            super().__init__(filename, *arguments)
        except OSError as error:
            super().__init__(os.devnull, *arguments)
            self.baseFilename = filename
            self._set_aside(error)

    def emit(self, record: loggers.LogRecord) -> None:
        """Write a record, or lose it."""
        try:
            if self.stream.closed:
                self.stream = Path(self.baseFilename).open("ab")  # noqa: SIM115  # the next error closes it
            super().emit(record)
        except OSError as error:
            self._set_aside(error)

    def doRollover(self) -> None:  # noqa: N802  # a name of supervisord
        """Rotate the file once it is large, unless it could not be written."""
        if not self.stream.closed:
            self._is_reported = False
            super().doRollover()

    def handleError(self) -> None:  # noqa: N802  # a name of supervisord
        """Report the error of a record that was not written."""
        error = sys.exc_info()[1]
        self._set_aside(error if isinstance(error, OSError) else OSError(str(error)))

    def _set_aside(self, error: OSError) -> None:
        # Closing writes what is buffered, which fails again; the file is closed nevertheless.
        with suppress(OSError):
            self.stream.close()
        if error.errno not in FULL and not self._is_reported:
            self._is_reported = True
            reason = error.strerror or error
            print(f"{self.baseFilename} cannot be written: {reason}", file=sys.stderr, flush=True)


def main() -> None:
    """Run supervisord until it is stopped or the launcher dies."""
    launcher = int(sys.argv.pop(1))
    # If the launcher is killed, the kernel signals supervisord to stop everything.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != launcher:
        sys.exit("The launcher has ended.")
    loggers.RotatingFileHandler = LastingLog
    supervisord.main()


if __name__ == "__main__":
    main()
