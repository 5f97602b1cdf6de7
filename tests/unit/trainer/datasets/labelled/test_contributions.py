"""Whose labels a dataset version contains, and how many of one user."""

import pandas as pd
import pytest

from trainer.datasets.labelled.authors import LabelLimits
from trainer.datasets.labelled.contributions import ALWAYS_KEPT, is_above_limit, label_shares


def rows(*, split: str = "train", **counts: int) -> pd.DataFrame:
    """Return rows of one part by the author of the label; `uploaded` rows have none."""
    authors = [name for name, count in counts.items() for _ in range(count)]
    return pd.DataFrame(
        {
            "id": [f"job-{number}" for number in range(len(authors))],
            "labelled_by": ["" if name == "uploaded" else name for name in authors],
            "split": split,
        }
    )


def kept(table: pd.DataFrame, limits: LabelLimits) -> dict[str, int]:
    """Count the rows that stay, by author."""
    stay = table[~is_above_limit(table, limits)]["labelled_by"]
    return {str(name): int((stay == name).sum()) for name in table["labelled_by"].unique()}


@pytest.mark.parametrize(
    ("counts", "limits", "eve"),
    [
        ({"uploaded": 9_000, "eve": 5_000}, LabelLimits(400, 1.0), 400),
        ({"uploaded": 9_000, "eve": 5_000}, LabelLimits(10_000, 0.1), 1_000),
        ({"uploaded": 9_000, "eve": 999}, LabelLimits(10_000, 0.1), 999),
        ({"uploaded": 0, "eve": 5_000}, LabelLimits(10_000, 0.1), ALWAYS_KEPT),
        ({"uploaded": 9_000, "eve": 5_000}, LabelLimits(0, 0.1), 0),
    ],
)
def test_rows_of_one_author_stay_below_both_limits(
    counts: dict[str, int], limits: LabelLimits, eve: int
) -> None:
    left = kept(rows(split="train", **counts), limits)
    # Cutting rows lowers the total, so the last row of an exact share may be cut too.
    assert eve - 1 <= left["eve"] <= eve


def test_many_authors_are_each_limited() -> None:
    limits = LabelLimits(10_000, 0.2)
    left = kept(rows(uploaded=1_000, eve=5_000, mallory=3_000, olga=150), limits)
    assert left["olga"] == 150
    assert left["eve"] == left["mallory"] <= 0.2 * sum(left.values())
    assert left[""] == 1_000


def test_test_rows_neither_count_nor_are_cut() -> None:
    tested, trained = rows(split="test", olga=500, uploaded=9_000), rows(olga=500, uploaded=1_000)
    table = pd.concat([tested, trained], ignore_index=True)
    left = table[~is_above_limit(table, LabelLimits(10_000, 0.1))]
    assert (left["split"] == "test").sum() == 9_500
    assert (left["labelled_by"][left["split"] == "train"] == "olga").sum() == pytest.approx(111, 1)


def test_same_rows_stay_every_time_whatever_their_order() -> None:
    table = rows(uploaded=1_000, eve=1_000)
    limits = LabelLimits(50, 1.0)
    ids = set(table["id"][~is_above_limit(table, limits)])
    shuffled = table.sample(frac=1, random_state=0).reset_index(drop=True)
    assert set(shuffled["id"][~is_above_limit(shuffled, limits)]) == ids


def test_shares_count_all_rows_and_name_the_users() -> None:
    shares = label_shares(rows(uploaded=6, id1=1, id2=3)["labelled_by"], {"id1": "olga"})
    found = [(share.user, share.user_id, share.rows, share.share) for share in shares]
    assert found == [("id2", "id2", 3, 0.3), ("olga", "id1", 1, 0.1)]
