import os
import signal

import pytest

from rayon.cli import interrupts


class Finalised:
    """Object that receives Ctrl-C while it is being finalized."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_interrupt_discarded_by_python_is_raised_later() -> None:
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
