"""A start may take as long as something moves."""

import pytest

from infra.embedded.preflight import NotReady
from infra.embedded.progress import MOST_STARTS, Progress, Usage

STATES = {"gateway": "RUNNING"}


class Machine:
    """Programs that use CPU time, and a clock that is moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.programs = {"gateway": Usage(pid=1, cpu_seconds=0.0)}
        self.load = 0.5
        self.progress = Progress(
            180, lambda: dict(self.programs), lambda: self.load, lambda: self.seconds
        )

    def wait(self, seconds: float, share: float, awaited: str = "the gateway") -> None:
        """Wait while the gateway uses a share of a core."""
        for _ in range(round(seconds)):
            self.seconds += 1
            self.programs["gateway"] = Usage(1, self.programs["gateway"].cpu_seconds + share)
            self.progress.look(awaited, STATES)

    def crash(self, times: int) -> None:
        """Start the gateway again every five seconds."""
        for pid in range(2, times + 2):
            self.seconds += 5
            self.programs["gateway"] = Usage(pid, 3.0)
            self.progress.look("the gateway", STATES)


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_slow_start_that_moves_is_waited_for(machine: Machine) -> None:
    machine.wait(1_000, share=0.1)


def test_program_that_gets_little_of_a_busy_machine_is_waited_for(machine: Machine) -> None:
    machine.load = 20
    machine.wait(1_000, share=0.01)


def test_start_in_which_nothing_moves_ends_with_what_it_waited_for(machine: Machine) -> None:
    with pytest.raises(NotReady, match=r"Nothing has moved for 180 s .* the gateway\. .*RUNNING"):
        machine.wait(1_000, share=0.01)
    assert machine.seconds == pytest.approx(185, abs=6)


def test_change_of_what_is_awaited_is_progress(machine: Machine) -> None:
    for awaited in ("the gateway", "workers: waiting for text.interactive", "release: none"):
        machine.wait(170, share=0.0, awaited=awaited)


def test_program_that_ends_again_and_again_is_not_waited_for(machine: Machine) -> None:
    with pytest.raises(NotReady, match=f"gateway was started {MOST_STARTS} times"):
        machine.crash(100)
    assert machine.seconds == pytest.approx(5 * (MOST_STARTS + 1))


def test_what_is_awaited_is_printed(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.wait(45, share=0.1)
    assert capsys.readouterr().out == (
        "  20 s: waiting for the gateway\n  40 s: waiting for the gateway\n"
    )
