"""Outcomes of stories in the bench of changes that stay, and how they are counted."""

import pytest

from tests.bench.quality.recovery.story import Outcome, Story, conclusion, is_as_wanted, table
from tests.bench.quality.recovery.stream import Window


def story(name: str, before: float, *after: float, promotions: int = 1, failure: str = "") -> Story:
    def windows(values: tuple[float, ...], release: str) -> list[Window]:
        return [Window(release, 500, value, value, value, 100) for value in values]

    return Story(
        name,
        "",
        champion="2",
        before=windows((before, before), "2"),
        after=windows(after, "3"),
        promotions=[{}] * promotions,
        failure=failure,
    )


@pytest.mark.parametrize(
    ("told", "outcome"),
    [
        (story("mix", 0.70, 0.40, 0.64, 0.64), Outcome.RECOVERED),
        (story("mix", 0.70, 0.40, 0.63, 0.63), Outcome.NOT_RECOVERED),
        # Chance may bring F1 back; then nothing was learnt.
        (story("mix", 0.70, 0.40, 0.70, 0.70, promotions=0), Outcome.NOT_RECOVERED),
        (story("words", 0.70, 0.69, 0.75, 0.75), Outcome.NOTHING_LOST),
        (story("words", 0.70, 0.69, 0.75, 0.75, promotions=0), Outcome.NOTHING_LOST),
        (story("mix", 0.70, 0.67, 0.69, 0.68), Outcome.NOT_RECOVERED),
        (story("mix", 0.70, 0.40, 0.70, 0.70, failure="no answer"), Outcome.FAILED),
        (story("mix", 0.70), Outcome.FAILED),
        (story("control", 0.70, 0.60, 0.60, promotions=0), Outcome.NOTHING_PROMOTED),
        (story("control", 0.70, 0.75, 0.75), Outcome.PROMOTED),
    ],
)
def test_outcome_of_a_story(told: Story, outcome: Outcome) -> None:
    assert told.outcome is outcome


RECOVERED, LOST = story("a", 0.7, 0.4, 0.7, 0.7), story("b", 0.7, 0.4, 0.4, 0.4)
NO_LOSS, CONTROL = story("c", 0.7, 0.7, 0.7), story("control", 0.7, 0.7, 0.7, promotions=0)


@pytest.mark.parametrize(
    ("stories", "wanted"),
    [
        ([RECOVERED] * 3 + [NO_LOSS, LOST, CONTROL], True),
        ([RECOVERED] * 3 + [LOST, LOST, CONTROL], False),
        ([RECOVERED] * 5 + [story("control", 0.7, 0.7, 0.7)], False),
        ([RECOVERED], True),
        ([LOST], False),
        ([CONTROL], True),
    ],
)
def test_four_of_five_kinds_and_the_control_are_wanted(stories: list[Story], wanted: bool) -> None:
    assert is_as_wanted(stories) is wanted


def test_kinds_that_lost_nothing_are_counted_apart() -> None:
    stories = [RECOVERED, RECOVERED, RECOVERED, NO_LOSS, LOST, CONTROL]
    first, rule, control, last = conclusion(stories)
    assert (
        "kinds of change, 5: 3 recovered, 1 not recovered, 1 nothing lost; wanted: at least 4"
        in first
    )
    assert "80%" in rule
    assert (control, last) == ("control: nothing promoted; wanted: nothing promoted", "as wanted")
    assert table([NO_LOSS])[-1].split()[1:5] == ["0.700", "0.700", "0.700", "-"]
