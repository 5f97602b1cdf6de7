"""Finds duplicate products and images, and contradicting labels among them."""

from collections.abc import Mapping
from itertools import combinations

import pandas as pd

from trainer.explore.material import WEAK

EQUALITIES = {
    "written": "Identical title and description",
    "prepared": "Identical text after preparation, as the models read it",
    "image": "Identical image file",
}


def keys(rows: pd.DataFrame, digests: Mapping[str, str] | None = None) -> dict[str, pd.Series]:
    """Return for each kind of `EQUALITIES` the key that equal products share; may be empty.

    Args:
        rows: Rows of the material.
        digests: Hash of each image's content, by reference.
    """
    known = digests or {}
    title, description = rows["designation"].str.strip(), rows["description"].str.strip()
    return {
        "written": (title + "\0" + description).where(rows["has_text"], ""),
        "prepared": rows["text"],
        "image": pd.Series(
            [known.get(reference, "") for reference in rows["image"]], rows.index, dtype=str
        ),
    }


def summary(rows: pd.DataFrame, digests: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Count duplicates, one line for each kind of `EQUALITIES`.

    Columns: `groups` of equal products; `products` in them; `redundant` products, all but the first
    of each group; `contradicting` products, whose group has several categories; `leaking` products
    of the test part with an equal product in another part. All but the last count only rows
    labelled by people.
    """
    is_labelled = ~rows["part"].isin(WEAK)
    lines = {}
    for kind, key in keys(rows, digests).items():
        groups = groups_of(rows[is_labelled], key[is_labelled])
        lines[EQUALITIES[kind]] = (
            groups["group"].nunique(),
            len(groups),
            len(groups) - groups["group"].nunique(),
            int(groups["is_contradicting"].sum()),
            _leaking(rows, key),
        )
    columns = ["groups", "products", "redundant", "contradicting", "leaking"]
    return pd.DataFrame.from_dict(lines, orient="index", columns=columns)


def groups_of(rows: pd.DataFrame, key: pd.Series) -> pd.DataFrame:
    """Return products that share a key with another: `group`, `code`, `is_contradicting`."""
    is_repeated = (key != "") & key.duplicated(keep=False)
    codes = rows.loc[is_repeated, "code"]
    group = pd.Series(pd.factorize(key[is_repeated])[0], codes.index, dtype="int64")
    contradicts = codes.groupby(group).transform("nunique") > 1
    return pd.DataFrame(
        {"group": group, "code": codes, "is_contradicting": contradicts.astype(bool)}
    )


def contradictions(
    rows: pd.DataFrame, digests: Mapping[str, str] | None = None, *, most: int = 30
) -> pd.DataFrame:
    """Return examples of equal products with different categories, the largest groups first.

    Returns:
        Table with `equal_in` (the kind), `designation`, `codes` and `rows`, the row numbers.
    """
    rows = rows[~rows["part"].isin(WEAK)]
    lines: list[tuple[str, str, list[int], list[int | str]]] = []
    for kind, key in keys(rows, digests).items():
        if kind == "written":
            # Identical texts are also identical after preparation.
            continue
        found = groups_of(rows, key)
        contradicting = found[found["is_contradicting"]]
        by_size = sorted(contradicting.groupby("group"), key=lambda item: -len(item[1]))
        for _, group in by_size[:most]:
            title = str(rows["designation"].loc[group.index[0]])
            codes = sorted({int(code) for code in group["code"]})
            lines.append((EQUALITIES[kind], title, codes, group.index.tolist()))
    return pd.DataFrame(lines, columns=["equal_in", "designation", "codes", "rows"])


def confused_pairs(
    rows: pd.DataFrame, digests: Mapping[str, str] | None = None, *, most: int = 15
) -> pd.DataFrame:
    """Count the groups of equal products by pair of contradicting categories."""
    rows = rows[~rows["part"].isin(WEAK)]
    keys_by_kind = keys(rows, digests)
    pairs: dict[tuple[int, int], int] = {}
    for kind in ("prepared", "image"):
        found = groups_of(rows, keys_by_kind[kind])
        for _, group in found[found["is_contradicting"]].groupby("group"):
            codes = sorted({int(code) for code in group["code"]})
            for pair in combinations(codes, 2):
                pairs[pair] = pairs.get(pair, 0) + 1
    best = sorted(pairs.items(), key=lambda pair: -pair[1])[:most]
    lines = [(*pair, groups) for pair, groups in best]
    return pd.DataFrame(lines, columns=["category", "other_category", "groups"])


def _leaking(rows: pd.DataFrame, key: pd.Series) -> int:
    is_test = rows["part"] == "test"
    return int(key[is_test & (key != "")].isin(key[~is_test]).sum())
