"""Signal handling of a service."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from shared.service import exit_on_sigterm, stop_on_signals

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@pytest.fixture(autouse=True)
def _former_handlers() -> Iterator[None]:
    former = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in former.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_both_signals_stop_the_service(number: signal.Signals) -> None:
    stops: list[bool] = []
    stop_on_signals(lambda: stops.append(True))
    os.kill(os.getpid(), number)
    assert stops == [True]


def test_sigterm_exits_with_success() -> None:
    exit_on_sigterm()
    with pytest.raises(SystemExit) as exited:
        os.kill(os.getpid(), signal.SIGTERM)
    assert exited.value.code == 0


def test_garbage_collection_leaves_out_what_a_service_imports() -> None:
    program = (
        "import gc; from shared.service import start_service; start_service('gateway'); "
        "print(gc.get_freeze_count(), len(gc.get_objects()))"
    )
    environment = os.environ | {"RAYON_METRICS_PORT": "0"}
    run = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    exempt, collected = map(int, run.stdout.split())
    assert exempt > 10 * collected
