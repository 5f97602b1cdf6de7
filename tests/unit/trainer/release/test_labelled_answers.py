"""The gate judges rows of the files and labelled answers by themselves."""

from typing import Any

import numpy as np
import pytest

from shared.categories import Category
from trainer.release.category_overlap import Overlap
from trainer.release.labelled_answers import LEAST_ROWS, judge_parts
from trainer.release.paired_bootstrap import Rule

RULE = Rule(margin=0.002, confidence=0.95)
KNOWN = (Category(code=10, name="Livres"), Category(code=20, name="Piscines"))
NEW = Category(code=30, name="Couettes")


def answers(rows: int, right: float, code: int = 10) -> list[tuple[int, int]]:
    """Return true categories and answers, of which a share is right."""
    return [(code, code if row < right * rows else 20) for row in range(rows)]


def judged(
    files: tuple[float, float],
    labelled: tuple[float, float],
    rows: tuple[int, int] = (2000, 200),
    tolerance: float = 0.02,
) -> dict[str, Any]:
    """Judge releases by their shares of right answers, `(champion, challenger)` in each part."""
    codes, champion, challenger = [], [], []
    for count, shares in zip(rows, (files, labelled), strict=True):
        both = [answers(count, share) for share in shares]
        codes += [code for code, _ in both[0]]
        champion += [answer for _, answer in both[0]]
        challenger += [answer for _, answer in both[1]]
    is_labelled = np.arange(sum(rows)) >= rows[0]
    overlap = Overlap.of(KNOWN, KNOWN)
    return judge_parts(
        np.array(codes),
        np.array(champion),
        np.array(challenger),
        is_labelled,
        overlap,
        RULE,
        tolerance,
    )


def test_gain_on_labelled_answers_does_not_drown_in_the_rows_of_the_files() -> None:
    # One answer in a thousand more is wrong on the files
    found = judged((0.9, 0.899), (0.5, 0.7), rows=(20_000, 200))
    assert found["outcome"] == "better"
    assert found["sentence"].startswith("Better")
    assert "on 200 labelled answers better, difference +0." in found["sentence"]
    assert [part["outcome"] for part in found["parts"]] == ["not better", "better"]


def test_gain_on_labelled_answers_does_not_excuse_a_loss_on_the_files() -> None:
    found = judged((0.9, 0.8), (0.5, 0.9))
    assert found["outcome"] == "not better"
    sentence = found["sentence"]
    assert sentence.startswith("Not better")
    assert "on 2000 rows of the files not better, difference -0.0" in sentence


def test_loss_on_labelled_answers_is_not_hidden_by_a_gain_on_the_files() -> None:
    found = judged((0.8, 0.9), (0.9, 0.6))
    assert found["outcome"] == "not better"
    assert found["sentence"].startswith("Not better. Worse on the labelled answers. On all rows: ")


@pytest.mark.parametrize(("tolerance", "outcome"), [(0.1, "better"), (0.001, "undecided")])
def test_possible_loss_on_the_files_is_held_against_the_tolerance(
    tolerance: float, outcome: str
) -> None:
    # Given as many rows of the files that became right as that became wrong
    codes = np.full(660, 10)
    champion, challenger = codes.copy(), codes.copy()
    champion[:40] = challenger[40:80] = 20
    # And a gain on the labelled answers, of which the last 60 rows are
    champion[600:612] = 20
    is_labelled = np.arange(660) >= 600
    overlap = Overlap.of(KNOWN, KNOWN)
    found = judge_parts(codes, champion, challenger, is_labelled, overlap, RULE, tolerance)
    assert found["parts"][0]["difference"] == 0
    assert found["outcome"] == outcome
    if outcome == "better":
        assert found["sentence"].startswith("Better. Better on what comes now. On all rows: undec")


@pytest.mark.parametrize(
    ("labelled", "files", "probability", "outcome"),
    [
        ((12, 9), (0, 0), 0.5, "better"),
        ((12, 9), (0, 0), 1.0, "undecided"),
        ((9, 9), (0, 0), 0.5, "undecided"),
        # A likely loss on the other rows is excused, one beyond chance is not
        ((12, 9), (6, 9), 0.5, "better"),
        ((12, 9), (0, 30), 0.5, "not better"),
    ],
)
def test_likely_gain_on_labelled_answers_is_enough_after_a_change(
    labelled: tuple[int, int], files: tuple[int, int], probability: float, outcome: str
) -> None:
    found = judged_changes(files, labelled, probability)
    assert found["outcome"] == outcome
    if outcome == "better":
        assert found["parts"][1]["low"] < 0
        assert "on 60 labelled answers better with a probability of 0.7" in found["sentence"]


@pytest.mark.parametrize(
    ("labelled", "probability", "outcome"),
    [
        ((0, 0), 0.5, "better"),
        ((0, 0), 1.0, "undecided"),
        ((2, 3), 0.5, "better"),
        ((0, 9), 0.5, "not better"),
    ],
)
def test_likely_gain_on_all_rows_is_enough_unless_labelled_answers_say_otherwise(
    labelled: tuple[int, int], probability: float, outcome: str
) -> None:
    found = judged_changes((14, 9), labelled, probability)
    assert found["outcome"] == outcome
    if outcome == "better":
        assert found["sentence"].startswith("Better, but not beyond chance: ")


def test_likely_gain_is_not_enough_without_labelled_answers() -> None:
    assert judged_changes((14, 9), (0, 0), 0.5, labelled_rows=49)["outcome"] == "undecided"


def judged_changes(
    files: tuple[int, int],
    labelled: tuple[int, int],
    probability: float,
    *,
    labelled_rows: int = 60,
) -> dict[str, Any]:
    """Judge releases on 600 rows of the files and some labelled answers.

    Args:
        files: Number of the rows that become right and wrong.
        labelled: The same of the labelled answers.
        probability: Probability of being better that is enough.
        labelled_rows: Number of the labelled answers.
    """
    codes = np.full(600 + labelled_rows, 10)
    champion, challenger = codes.copy(), codes.copy()
    for start, (right, wrong) in ((0, files), (600, labelled)):
        champion[start : start + right] = 20
        challenger[start + right : start + right + wrong] = 20
    is_labelled = np.arange(len(codes)) >= 600
    overlap, rule = Overlap.of(KNOWN, KNOWN), Rule(0.002, 0.95, probability)
    return judge_parts(codes, champion, challenger, is_labelled, overlap, rule, 0.02)


def test_few_labelled_answers_are_judged_with_the_rest() -> None:
    found = judged((0.9, 0.9), (0.1, 0.9), rows=(2000, LEAST_ROWS - 1))
    assert "parts" not in found
    assert "labelled answers" not in found["sentence"]


def test_equal_releases_are_undecided() -> None:
    found = judged((0.9, 0.9), (0.5, 0.5))
    assert found["outcome"] == "undecided"


def test_labelled_answers_of_new_categories_are_named() -> None:
    codes = np.array([10] * 200 + [30] * 60)
    champion, challenger = np.where(codes == 30, 10, codes), codes
    overlap = Overlap.of(KNOWN, (*KNOWN, NEW))
    found = judge_parts(codes, champion, challenger, codes == 30, overlap, RULE, 0.02)
    assert found["parts"][1]["difference"] is None
    assert "on 60 labelled answers not comparable" in found["sentence"]
    assert found["outcome"] == "better"


def test_figures_of_a_part_say_which_rows_they_leave_out() -> None:
    codes = np.array([10, 20] * 100 + [10] * 60 + [30] * 40)
    challenger = np.concatenate([codes[:200], [10] * 60, [30] * 40])
    champion = np.where(codes == 30, 20, challenger)
    is_labelled = np.arange(len(codes)) >= 200
    found = judge_parts(
        codes, champion, challenger, is_labelled, Overlap.of(KNOWN, (*KNOWN, NEW)), RULE, 0.02
    )
    # The champion is wrong on the new category alone, which decides, and no figure shows it.
    assert (
        "on 60 labelled answers and 40 of new categories better, difference without these +0.0000"
        in found["sentence"]
    )


# Another mix of categories


def judged_now(
    files: tuple[list[float], list[float]],
    labelled: tuple[float, float],
    now: dict[int, float] | None,
) -> dict[str, Any]:
    """Judge releases that are right on shares of 1,000 rows of each category of the files.

    Args:
        files: Shares of the champion and of the challenger, by category.
        labelled: The same on 100 labelled answers, all of the second category.
        now: Current mix.
    """
    codes = np.repeat([10, 20], 1_000)
    both = []
    for shares, share in zip(files, labelled, strict=True):
        right = np.concatenate([np.arange(1_000) < part * 1_000 for part in shares])
        of_files = np.where(right, codes, 30 - codes)
        both.append(np.concatenate([of_files, np.where(np.arange(100) < share * 100, 20, 10)]))
    all_codes = np.concatenate([codes, np.full(100, 20)])
    is_labelled = np.arange(len(all_codes)) >= len(codes)
    overlap = Overlap.of(KNOWN, KNOWN)
    return judge_parts(all_codes, both[0], both[1], is_labelled, overlap, RULE, 0.02, now)


def test_loss_on_products_that_come_no_more_is_no_loss() -> None:
    shares = [0.9, 0.6], [0.7, 0.7]
    # The second category comes nine times in ten, and was half of the files
    before = judged_now(shares, (0.6, 0.62), None)
    assert before["outcome"] == "not better"
    found = judged_now(shares, (0.6, 0.62), {10: 0.1, 20: 0.9})
    assert found["outcome"] == "better"
    assert found["sentence"].startswith("Better. Better on what comes now. On all rows: ")
    assert "on 2100 rows weighted to the current mix better, difference +0.0" in found["sentence"]
    assert [part["name"] for part in found["parts"]][-1] == "rows weighted to the current mix"


def test_gain_on_products_that_come_no_more_is_no_gain() -> None:
    found = judged_now(([0.6, 0.8], [0.95, 0.76]), (0.8, 0.8), {10: 0.02, 20: 0.98})
    assert found["outcome"] == "not better"
    assert "Worse on the rows weighted to the current mix" in found["sentence"]


def test_release_that_gives_a_category_up_waits_for_a_person() -> None:
    found = judged_now(([0.9, 0.6], [0.1, 0.9]), (0.6, 0.9), {10: 0.001, 20: 0.999})
    assert [part["outcome"] for part in found["parts"]][1:] == ["better", "better"]
    assert found["outcome"] == "undecided"
    assert "More than half of the F1 is lost of 10" in found["sentence"]


def test_labelled_answers_can_still_refuse_a_release() -> None:
    found = judged_now(([0.9, 0.6], [0.9, 0.9]), (0.9, 0.5), {10: 0.1, 20: 0.9})
    assert found["outcome"] == "not better"
    assert "Worse on the labelled answers" in found["sentence"]


def test_weighted_rows_count_by_their_category() -> None:
    found = judged_now(([0.5, 0.5], [0.5, 0.5]), (0.5, 0.5), {10: 0.0, 20: 1.0})
    current = found["parts"][-1]
    # Half of the 1,100 rows of the second category are right; rows of the other one weigh nothing.
    assert current["champion_f1"] == pytest.approx(2 * 0.5 / 1.5)
    assert current["low"] == current["high"] == 0
