"""Outcomes of the bench of changes that stay, and how losses and gains are measured and counted."""

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from tests.bench.quality.recovery.held_products import NOT_ASKED, Held, regained_share
from tests.bench.quality.recovery.outcomes import Kind, Outcome, conclusion, is_as_wanted, table
from tests.bench.quality.recovery.story import Story, first_change
from tests.bench.quality.recovery.stream import Window
from tests.bench.quality.recovery.worlds import AFTER, HELD, KINDS, WINDOW, other_words

PRODUCTS = 1_000


def held(before: float, first: float, last: float) -> Held:
    """Two categories of equal size, of which a release answers these shares right."""
    truth = np.arange(PRODUCTS) % 2

    def answers(right: float) -> NDArray[np.int64]:
        is_right = np.arange(PRODUCTS) // 2 < right * PRODUCTS / 2
        return np.where(is_right, truth, 1 - truth)

    return Held(
        np.stack([truth, answers(before)], axis=1),
        np.stack([truth, answers(first), answers(last)], axis=1),
    )


def story(
    name: str, before: float, first: float, last: float, promotions: int = 1, failure: str = ""
) -> Story:
    def windows(value: float, release: str) -> list[Window]:
        return [Window(release, 500, value, value, value, 100)] * 2

    last_release = "3" if promotions else "2"
    return Story(
        name,
        "",
        champion="2",
        before=windows(before, "2"),
        after=[*windows(first, "2"), *windows(last, last_release)],
        promotions=[{}] * promotions,
        held=None if failure else held(before, first, last),
        failure=failure,
    )


def kind(before: float, first: float, last: float, name: str = "mix", promotions: int = 1) -> Kind:
    return Kind([story(name, before, first, last, promotions)])


def test_loss_is_that_of_the_first_release_and_gain_that_of_the_last_one_over_it() -> None:
    found = held(0.8, 0.4, 0.7)
    first = (found.first_before, found.first_after, found.first_held)
    assert (*first, found.last_held) == pytest.approx((0.8, 0.4, 0.4, 0.7))
    assert (found.lost, found.regained) == pytest.approx((0.4, 0.3))


def test_loss_counts_products_that_were_sent_and_gain_does_not() -> None:
    found = held(0.8, 0.4, 0.7)
    sent = held(0.8, 0.6, NOT_ASKED).after
    sent[:, 2] = NOT_ASKED
    both = Held(found.before, np.concatenate([found.after, sent]))
    assert (both.lost, both.regained) == pytest.approx((0.3, 0.3))


def test_share_is_the_sum_of_gains_over_the_sum_of_losses() -> None:
    share = regained_share([held(0.8, 0.4, 0.8), held(0.8, 0.6, 0.6)])
    assert share.value == pytest.approx(0.4 / 0.6)
    assert share.low < share.value < share.high


def test_interval_of_a_small_loss_is_wider() -> None:
    large, small = (regained_share([held(0.8, first, 0.75)]) for first in (0.4, 0.7))
    assert small.high - small.low > 2 * (large.high - large.low)


def test_without_a_promotion_nothing_is_regained() -> None:
    share = regained_share([held(0.8, 0.6, 0.6)])
    assert (share.value, share.low, share.high) == (0, 0, 0)


@pytest.mark.parametrize(
    ("told", "outcome"),
    [
        (kind(0.70, 0.40, 0.66), Outcome.RECOVERED),
        (kind(0.70, 0.40, 0.62), Outcome.NOT_RECOVERED),
        (kind(0.70, 0.40, 0.40, promotions=0), Outcome.NOT_RECOVERED),
        (kind(0.70, 0.69, 0.75), Outcome.NOTHING_LOST),
        (kind(0.70, 0.67, 0.68), Outcome.NOT_RECOVERED),
        (Kind([story("mix", 0.7, 0.4, 0.7, failure="no answer")]), Outcome.FAILED),
        (Kind([Story("mix", "")]), Outcome.FAILED),
        (kind(0.70, 0.60, 0.60, name="control", promotions=0), Outcome.NOTHING_PROMOTED),
        (kind(0.70, 0.70, 0.75, name="control"), Outcome.PROMOTED),
        # A run that regains too little is outweighed by the others.
        (Kind([story("mix", 0.7, 0.4, 0.74), story("mix", 0.7, 0.4, 0.52)]), Outcome.NOT_RECOVERED),
        (Kind([story("mix", 0.7, 0.4, 0.78), story("mix", 0.7, 0.4, 0.56)]), Outcome.RECOVERED),
        (
            Kind([story("mix", 0.7, 0.4, 0.7), story("mix", 0.7, 0.4, 0.7, failure="no answer")]),
            Outcome.FAILED,
        ),
    ],
)
def test_outcome_of_a_kind(told: Kind, outcome: Outcome) -> None:
    assert told.outcome is outcome


RECOVERED, LOST = kind(0.7, 0.4, 0.7), kind(0.7, 0.4, 0.4)
NO_LOSS, CONTROL = kind(0.7, 0.7, 0.7), kind(0.7, 0.7, 0.7, name="control", promotions=0)


@pytest.mark.parametrize(
    ("kinds", "wanted"),
    [
        ([RECOVERED] * 3 + [NO_LOSS, LOST, CONTROL], True),
        ([RECOVERED] * 3 + [LOST, LOST, CONTROL], False),
        ([RECOVERED] * 5 + [kind(0.7, 0.7, 0.7, name="control")], False),
        ([RECOVERED], True),
        ([LOST], False),
        ([CONTROL], True),
    ],
)
def test_four_of_five_kinds_and_the_control_are_wanted(kinds: list[Kind], wanted: bool) -> None:
    assert is_as_wanted(kinds) is wanted


def test_kinds_that_lost_nothing_are_counted_apart() -> None:
    kinds = [RECOVERED, RECOVERED, RECOVERED, NO_LOSS, LOST, CONTROL]
    first, rule, control, last = conclusion(kinds)
    assert (
        "kinds of change, 5: 3 recovered, 1 not recovered, 1 nothing lost; wanted: at least 4"
        in first
    )
    assert "80%" in rule
    assert (control, last) == ("control: nothing promoted; wanted: nothing promoted", "as wanted")


def test_table_has_each_run_and_the_share_of_all() -> None:
    told = Kind([story("mix", 0.7, 0.4, 0.74), story("mix", 0.7, 0.4, 0.56)])
    *_, first, second, summary, _ = table([told])
    lost, regained = (part.split() for part in first.split("|")[2:4])
    assert (lost, regained) == (["0.700", "0.400", "0.300"], ["0.400", "0.740", "0.340"])
    assert second.split("|")[4].split() == ["none", "1000", "400", "1"]
    assert summary.startswith("  mix: recovered, 83% regained")


def test_alert_of_a_story_is_the_first_one_about_a_change() -> None:
    alerts = [{"kind": kind} for kind in ("labels", "calendar", "promotion", "quality", "text")]
    assert first_change(alerts) == {"kind": "quality"}
    assert first_change(alerts[:3]) is None


@pytest.mark.parametrize("name", ["control", "new category", "other mix", "cut titles"])
def test_held_products_are_in_no_window_and_no_dataset(name: str) -> None:
    codes = np.random.default_rng(0).choice(9, p=[0.2] + [0.1] * 8, size=18_000)
    rows = pd.DataFrame({"designation": "Title", "description": "", "code": codes})
    world = KINDS[name](rows, np.random.default_rng(0))
    parts = [world.first, world.before, world.after, world.held_before, world.held_after]
    assert [len(part) for part in parts[2:]] == [AFTER * WINDOW, HELD, HELD]
    assert not pd.concat(parts).index.duplicated().any()


def test_other_words_are_a_part_of_each_category_whose_titles_others_lack() -> None:
    words = [f"{part}{number}" for part in ("old", "usual", "new") for number in range(8)]
    drawn = np.random.default_rng(0)
    titles, codes, parts = [], [], []
    for code in range(3):
        for part in drawn.choice(3, p=[0.35, 0.35, 0.3], size=100):
            titles.append(" ".join(drawn.choice(words[part * 8 : part * 8 + 8], 5)))
            codes.append(code)
            parts.append(part)
    rows = pd.DataFrame({"designation": titles, "code": codes, "part": parts})
    held = rows[other_words(rows)]
    assert set(held["code"]) == {0, 1, 2}
    for _, group in held.groupby("code"):
        assert group["part"].nunique() == 1
        same = (rows["code"] == group["code"].iloc[0]) & (rows["part"] == group["part"].iloc[0])
        assert len(group) == same.sum()
