"""Reliable handling of Ctrl-C.

Python prints and discards an exception that a signal handler raises while an object is being
finalized. The signal is therefore recorded and checked whenever progress is reported.
"""

import signal
import threading
from types import FrameType

_interrupted = threading.Event()


def listen() -> None:
    """Record Ctrl-C from now on; it still raises `KeyboardInterrupt`."""
    signal.signal(signal.SIGINT, _record)


def require_none() -> None:
    """Raise `KeyboardInterrupt` if one was recorded but discarded by Python."""
    if _interrupted.is_set():
        _interrupted.clear()
        raise KeyboardInterrupt


def _record(_number: int, _frame: FrameType | None) -> None:
    _interrupted.set()
    raise KeyboardInterrupt
