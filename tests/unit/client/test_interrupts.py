import os
import signal

import pytest

from rayon.cli import interrupts


class Finalised:
    """Hears Ctrl-C at the worst moment."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_interrupt_that_python_loses_is_heard_later() -> None:
    before = signal.getsignal(signal.SIGINT)
    try:
        interrupts.listen()
        interrupts.require_none()
        lost = Finalised()
        del lost
        with pytest.raises(KeyboardInterrupt):
            interrupts.require_none()
        interrupts.require_none()
    finally:
        signal.signal(signal.SIGINT, before)
