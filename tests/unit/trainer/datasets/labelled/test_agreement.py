"""Which authors disagree with the model far more often than others do."""

import pandas as pd
import pytest

from trainer.datasets.labelled.agreement import Doubt, doubtful_authors, sentence

RATIO = 5.0


def labels(
    author: str, *, agree: int, differ: int, answer: int = 10, label: int = 20
) -> pd.DataFrame:
    """Return labels of confident answers, some of which differ from the answer."""
    given = [answer] * agree + [label] * differ
    return pd.DataFrame({"author": author, "label": given, "answer": answer, "confidence": 0.95})


#: Labels that make category 20 one that the model has answered.
COMMON = labels("ada", agree=40, differ=1, answer=20, label=10)


def doubted(*parts: pd.DataFrame, ratio: float = RATIO) -> list[str]:
    found = doubtful_authors(pd.concat([COMMON, *parts], ignore_index=True), ratio)
    return [one.author for one in found]


def test_author_who_labels_wrongly_is_left_out() -> None:
    assert doubted(labels("olga", agree=95, differ=5), labels("eve", agree=5, differ=95)) == ["eve"]


def test_two_of_many_who_label_wrongly_are_left_out() -> None:
    honest = [labels(f"olga{n}", agree=95, differ=5) for n in range(18)]
    wrong = [labels(name, agree=5, differ=95) for name in ("eve", "mallory")]
    assert doubted(*honest, *wrong) == ["eve", "mallory"]


def test_two_attackers_with_most_of_the_labels_do_not_hide_each_other() -> None:
    wrong = [labels(name, agree=50, differ=950) for name in ("eve", "mallory")]
    assert doubted(labels("olga", agree=950, differ=50), *wrong) == ["eve", "mallory"]


def test_after_a_change_of_products_honest_reviewers_stay() -> None:
    changed = [labels(f"olga{n}", agree=40, differ=60) for n in range(5)]
    assert doubted(*changed) == []
    assert doubted(*changed, labels("eve", agree=1, differ=99)) == ["eve"]


def test_careless_reviewer_stays() -> None:
    others = [labels(f"olga{n}", agree=950, differ=50) for n in range(5)]
    assert doubted(*others, labels("oleg", agree=850, differ=150)) == []


def test_few_disagreements_are_chance() -> None:
    others = [labels(f"olga{n}", agree=95, differ=5) for n in range(5)]
    assert doubted(*others, labels("oleg", agree=17, differ=5)) == []


def test_sole_author_is_not_judged() -> None:
    assert doubtful_authors(labels("eve", agree=0, differ=500), RATIO) == ()
    assert doubtful_authors(labels("eve", agree=0, differ=500).head(0), RATIO) == ()


def test_label_of_a_category_that_was_never_answered_is_no_disagreement() -> None:
    others = labels("olga", agree=95, differ=5)
    assert doubted(others, labels("oleg", agree=30, differ=95, label=99)) == []


def test_specialist_is_compared_where_the_model_is_wrong() -> None:
    # The model confuses 30: others, too, correct most of its answers.
    others = [
        labels("olga", agree=2_000, differ=60),
        labels("olga", agree=20, differ=80, answer=30),
    ]
    assert doubted(*others, labels("oleg", agree=10, differ=90, answer=30)) == []
    assert doubted(*others, labels("oleg", agree=10, differ=90)) == ["oleg"]


def test_unsure_answers_and_products_without_one_do_not_count() -> None:
    others = labels("olga", agree=95, differ=5)
    unsure = labels("oleg", agree=0, differ=100).assign(confidence=0.5)
    unanswered = labels("oleg", agree=0, differ=100).assign(answer=None, confidence=None)
    assert doubted(others, unsure, unanswered) == []


def test_guard_can_be_switched_off() -> None:
    wrong = labels("olga", agree=95, differ=5), labels("eve", agree=0, differ=100)
    assert doubted(*wrong, ratio=0.0) == []


@pytest.mark.parametrize("name", ["Eve", None])
def test_finding_names_user_and_figures(name: str | None) -> None:
    found = sentence([Doubt("7", 120, 0.95, 0.04)], {"7": name} if name else {})
    assert f"{name or 7} (95% of 120 confident answers, others 4%)" in found
