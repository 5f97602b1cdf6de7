"""The launcher starts what has ended again, without haste."""

import pytest

from infra.embedded.keeper import CALM_SECONDS, FATAL_SECONDS, Keeper
from infra.embedded.preflight import NotReady


class FakeSupervisor:
    """supervisord that can be ended, and that has given up some programs."""

    def __init__(self) -> None:
        self.runs = True
        self.fatal: list[str] = []
        self.searches = 0

    def is_running(self) -> bool:
        return self.runs

    def last_words(self) -> str:
        return "exit code -9"

    def start_fatal(self) -> list[str]:
        self.searches += 1
        return self.fatal


class Clock:
    """Clock that is moved by hand."""

    seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


class Scene:
    """A keeper, and what it did."""

    def __init__(self) -> None:
        self.supervisor, self.clock = FakeSupervisor(), Clock()
        self.starts: list[float] = []
        self.fails = False
        self.keeper = Keeper(self.supervisor, self._start, self.clock)

    def look_for(self, seconds: float) -> None:
        """Look five times a second."""
        for _ in range(round(seconds * 5)):
            self.clock.seconds += 0.2
            self.keeper.look()

    def _start(self) -> None:
        self.starts.append(self.clock.seconds)
        if self.fails:
            raise NotReady("the socket cannot be created")
        self.supervisor.runs = True


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_running_system_is_left_alone(scene: Scene) -> None:
    scene.look_for(60)
    assert scene.starts == []


def test_supervisord_that_exited_is_started_again_and_the_reason_is_printed(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    scene.supervisor.runs = False
    scene.look_for(5)
    assert len(scene.starts) == 1
    assert "exited and is started again in 1 s: exit code -9" in capsys.readouterr().out


def test_pauses_double_while_it_does_not_start(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    scene.supervisor.runs, scene.fails = False, True
    scene.look_for(600)
    pauses = [
        later - earlier for earlier, later in zip(scene.starts, scene.starts[1:], strict=False)
    ]
    assert pauses[:3] == pytest.approx([2, 4, 8], abs=0.5)
    assert max(pauses) == pytest.approx(60, abs=0.5)
    assert len(scene.starts) < 20
    assert "did not start: the socket cannot be created" in capsys.readouterr().out


def test_pause_is_short_again_after_it_has_run_for_long(scene: Scene) -> None:
    for _ in range(4):
        scene.supervisor.runs = False
        scene.look_for(CALM_SECONDS + 10)
    ended = scene.clock.seconds
    scene.supervisor.runs = False
    scene.look_for(5)
    assert scene.starts[-1] - ended == pytest.approx(1.2, abs=0.5)


def test_programs_that_were_given_up_are_tried_again(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    scene.supervisor.fatal = ["redis"]
    scene.look_for(3.5 * FATAL_SECONDS)
    assert scene.supervisor.searches == 3
    assert "[redis] did not start for minutes; it is tried again" in capsys.readouterr().out
