"""The model card: labels by user, categories, time and energy."""

from pathlib import Path

import pytest

from shared.categories import CategorySet
from tests.support.factories import make_manifest
from trainer.datasets.findings import LabelShare
from trainer.pipeline.model_card import LONGEST_STEPS, model_card, training_as_markdown
from trainer.pipeline.steps import Step


def card(*labels: LabelShare) -> str:
    return model_card(make_manifest(), [], {}, has_weak_labels=False, labels=labels)


def test_card_lists_the_share_of_labels_by_user() -> None:
    shares = (
        LabelShare(user="olga", user_id="1", rows=120, share=0.1),
        LabelShare(user="shop", user_id="2", rows=60, share=0.05),
    )
    text = card(*shares)
    assert "| olga | 120 | 10.0% |\n| shop | 60 | 5.0% |\n| files | | 85.0% |" in text


def test_card_of_a_release_without_labels_of_users_says_so() -> None:
    assert "No row was labelled by a user of this system" in card()


def test_card_names_the_categories_by_their_paths() -> None:
    names = ["Maison > Literie", "Maison > Draps", "a | b"]
    tree = CategorySet.of(enumerate(names, start=10), separator=">")
    manifest = make_manifest(categories=tree.categories)
    card = model_card(manifest, [], {}, has_weak_labels=False, labels=())
    assert "| 10 | Maison > Literie |" in card
    assert "| 12 | a \\| b |" in card


def test_card_has_the_f1_of_each_level_of_a_tree_with_its_interval() -> None:
    ends = {"f1": 0.9, "low": 0.88, "high": 0.92}
    figures = {f"text_level1_{name}": value for name, value in ends.items()}
    figures |= {f"text_level2_{name}": value - 0.2 for name, value in ends.items()}
    manifest = make_manifest(figures=figures)
    card = model_card(manifest, [], {}, has_weak_labels=False, labels=())
    assert "### F1 by level of the tree" in card
    assert "| | level 1 | level 2 |" in card
    assert "| text | 0.9000 (0.880–0.920) | 0.7000 (0.680–0.720) |" in card
    assert "level" not in model_card(make_manifest(), [], {}, has_weak_labels=False, labels=())


def test_card_lists_a_thousand_categories_at_most() -> None:
    many = CategorySet.of((code, f"C{code}") for code in range(1, 1_203))
    manifest = make_manifest(categories=many.categories)
    card = model_card(manifest, [], {}, has_weak_labels=False, labels=())
    assert "| 1000 | C1000 |" in card
    assert "C1001" not in card
    assert "202 more are in `release.json`" in card


def test_card_states_the_time_and_energy_of_the_training() -> None:
    steps = [
        Step(f"step {number}", "", Path(), 360.0 * number, 1024.0 * number, is_reused=number > 3)
        for number in range(1, 9)
    ]
    text = training_as_markdown(steps, cores=2)
    # Steps of earlier runs count: their results are in the release.
    assert text.startswith("3.6 hours on 2 cores, 8.0 GB of memory at the peak")
    # 2 cores of 12 W and 8 GB of 0.3725 W, for 3.6 hours.
    assert "0.10 kWh" in text
    listed = [line for line in text.splitlines() if line.startswith("| step ")]
    assert listed[0] == "| step 8 | 48.0 |"
    assert len(listed) == LONGEST_STEPS
    card = model_card(make_manifest(), [], {}, has_weak_labels=False, labels=(), training=text)
    assert text in card


@pytest.mark.parametrize(
    ("rows", "test_rows", "sentence"),
    [
        (40.0, 0.0, "figures are theirs; the leaderboard has those of the models before."),
        (60.0, 20.0, "measured. All figures are those of the models before."),
        (0.0, 0.0, None),
    ],
)
def test_card_states_whose_figures_it_has_after_a_final_fit(
    rows: float, test_rows: float, sentence: str | None
) -> None:
    manifest = make_manifest(figures={"final_fit_rows": rows, "final_fit_test_rows": test_rows})
    card = model_card(manifest, [], {}, has_weak_labels=False, labels=())
    assert ("The models that ship" in card) == (sentence is not None)
    assert sentence is None or sentence in card
