"""Ctrl-C, also where Python would lose it.

An exception that a signal raises while an object is being finalised is printed and forgotten; so
the signal is remembered, and looked for whenever progress is told.
"""

import signal
import threading
from types import FrameType

_heard = threading.Event()


def listen() -> None:
    """Remember Ctrl-C from now on; it still raises `KeyboardInterrupt`."""
    signal.signal(signal.SIGINT, _remember)


def require_none() -> None:
    """Raise the `KeyboardInterrupt` that was lost, if there was one."""
    if _heard.is_set():
        _heard.clear()
        raise KeyboardInterrupt


def _remember(_number: int, _frame: FrameType | None) -> None:
    _heard.set()
    raise KeyboardInterrupt
