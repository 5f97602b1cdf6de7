"""Processes of one machine share one question for the champion."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.errors import Unavailable
from shared.inference.releases.shared_champion import FILE, SharedChampion, forget_champion
from shared.settings import ReleaseSettings


class Registry:
    """Counts the questions, and may be down or busy."""

    version: str | None = "1"
    questions = 0
    is_down = False
    meanwhile: Callable[[], object] = staticmethod(lambda: None)

    def champion(self) -> str | None:
        self.questions += 1
        if self.is_down:
            raise Unavailable("down in this test")
        answer = self.version
        self.meanwhile()
        return answer


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def settings(tmp_path: Path) -> ReleaseSettings:
    return ReleaseSettings(cache=tmp_path / "releases", poll_seconds=3)


def age(settings: ReleaseSettings, seconds: float) -> None:
    """Make the shared answer this old; it is from the future if the clock was set back."""
    moment = time.time() - seconds
    os.utime(settings.cache / FILE, (moment, moment))


def test_one_process_asks_for_all(registry: Registry, settings: ReleaseSettings) -> None:
    processes = [SharedChampion(registry, settings) for _ in range(5)]
    assert [one.champion() for one in processes] == ["1"] * 5
    assert registry.questions == 1


def test_no_champion_is_an_answer_too(registry: Registry, settings: ReleaseSettings) -> None:
    registry.version = None
    assert SharedChampion(registry, settings).champion() is None
    assert SharedChampion(registry, settings).champion() is None
    assert registry.questions == 1


@pytest.mark.parametrize("seconds", [3.1, 86_400, -60])
def test_answer_of_another_time_does_not_count(
    registry: Registry, settings: ReleaseSettings, seconds: float
) -> None:
    one = SharedChampion(registry, settings)
    one.champion()
    registry.version = "2"
    age(settings, seconds)
    assert one.champion() == "2"


def test_moved_alias_is_seen_at_once(registry: Registry, settings: ReleaseSettings) -> None:
    one = SharedChampion(registry, settings)
    one.champion()
    registry.version = "2"
    forget_champion(settings)
    assert one.champion() == "2"


def test_answer_from_before_a_move_is_not_shared(
    registry: Registry, settings: ReleaseSettings
) -> None:
    SharedChampion(registry, settings).champion()
    age(settings, 4)

    def move() -> None:
        registry.version = "2"
        forget_champion(settings)

    registry.meanwhile = move
    assert SharedChampion(registry, settings).champion() == "1"
    assert SharedChampion(registry, settings).champion() == "2"


def test_others_do_not_ask_meanwhile(registry: Registry, settings: ReleaseSettings) -> None:
    others = SharedChampion(registry, settings)
    others.champion()
    age(settings, 4)
    answers: list[str | None] = []
    registry.version = "2"
    registry.meanwhile = lambda: answers.append(others.champion())
    assert SharedChampion(registry, settings).champion() == "2"
    assert answers == ["1"]
    assert others.champion() == "2"
    assert registry.questions == 2


def test_registry_that_is_down_is_reported(registry: Registry, settings: ReleaseSettings) -> None:
    registry.is_down = True
    for _ in range(2):
        with pytest.raises(Unavailable):
            SharedChampion(registry, settings).champion()
    assert registry.questions == 2


def test_folder_that_cannot_be_written_costs_only_questions(
    registry: Registry, settings: ReleaseSettings, tmp_path: Path
) -> None:
    (tmp_path / "releases").write_text("a file")
    one = SharedChampion(registry, settings)
    assert [one.champion(), one.champion()] == ["1", "1"]
    assert registry.questions == 2
