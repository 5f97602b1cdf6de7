"""Agreement of labels with the model: authors who disagree with it far more often than others do.

The model is no judge of labels: after a real change of the products, honest reviewers disagree with
it as well, but all of them do. So authors are compared with each other. The labels of one who
stands out teach and test nothing, wherever they are in a version.

Each label's answer has an expected chance of disagreement: that of the other authors on answers of
the same category (indirect standardisation, Breslow and Day 1987, chapter 2), so that somebody who
labels only what the model confuses is compared with others there. A one-sided binomial test decides
if an author disagrees beyond chance, and the ratio of the odds if the excess matters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from scipy.stats import binom

#: Answers that are less confident say little about a label.
CONFIDENT = 0.8
#: With fewer labels on confident answers, an author is not judged, nor are others enough to compare
#: with.
LEAST_LABELS = 20
#: Probability that any honest author is left out by chance, shared by all authors of a version.
CHANCE = 0.001
#: Labels of the other authors that the expected chance of a category borrows from all categories.
BORROWED = 10.0


@dataclass(frozen=True)
class Doubt:
    """An author who disagrees with the model far more often than others do.

    Attributes:
        author: Id of the account.
        labels: Number of labels on confident answers.
        share: Share of them that differ from the answer.
        expected: The same share of the other authors, on answers of the same categories.
    """

    author: str
    labels: int
    share: float
    expected: float


def doubtful_authors(judged: pd.DataFrame, odds_ratio: float) -> tuple[Doubt, ...]:
    """Return the authors whose labels are left out, most labels first.

    Args:
        judged: Labels with the columns `author`, `label`, `answer` and `confidence`; the last two
            are empty without an answer. A label of a category that was never answered is no
            disagreement: it may be new.
        odds_ratio: Smallest ratio of the odds of disagreement; 0 leaves nobody out.
    """
    is_confident = judged["confidence"].astype(float) >= CONFIDENT
    is_judged = is_confident & judged["label"].isin(judged["answer"])
    rows = judged[is_judged]
    rows = rows.assign(differs=rows["label"] != rows["answer"])
    if not odds_ratio or rows["author"].nunique() < 2:
        return ()
    chance = CHANCE / rows["author"].nunique()
    found = [_doubt(rows, str(author)) for author in rows["author"].unique()]
    doubted = [one for one in found if one and _stands_out(one, odds_ratio, chance)]
    return tuple(sorted(doubted, key=lambda one: (-one.labels, one.author)))


def sentence(doubts: Sequence[Doubt], names: Mapping[str, str]) -> str:
    """Return the finding about some authors.

    Args:
        doubts: At least one.
        names: Usernames by id.
    """
    users = ", ".join(
        f"{names.get(one.author, one.author)} ({one.share:.0%} of {one.labels} confident answers, "
        f"others {one.expected:.0%})"
        for one in doubts
    )
    return (
        "Labels of users who disagree with the model far more often than others do were left out: "
        f"{users}; see RAYON_TRAINER_LABELS_ODDS_RATIO"
    )


def _doubt(rows: pd.DataFrame, author: str) -> Doubt | None:
    is_own = rows["author"] == author
    own, others = rows[is_own], rows[~is_own]
    if min(len(own), len(others)) < LEAST_LABELS:
        return None
    usual = (others["differs"].sum() + 1) / (len(others) + 2)
    by_answer = others.groupby("answer")["differs"].agg(["sum", "size"])
    expected = (by_answer["sum"] + BORROWED * usual) / (by_answer["size"] + BORROWED)
    return Doubt(
        author,
        len(own),
        share=float(own["differs"].mean()),
        expected=float(own["answer"].map(expected).fillna(usual).mean()),
    )


def _stands_out(doubt: Doubt, odds_ratio: float, chance: float) -> bool:
    differing = round(doubt.share * doubt.labels)
    if binom.sf(differing - 1, doubt.labels, doubt.expected) > chance:
        return False
    return _odds(doubt.share) >= odds_ratio * _odds(doubt.expected)


def _odds(share: float) -> float:
    return share / (1.0 - share) if share < 1.0 else float("inf")
