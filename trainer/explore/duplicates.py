"""Finds products and images that are there more than once, and labels that contradict."""

from collections.abc import Mapping

import pandas as pd

from trainer.explore.material import WEAK

SAME = {
    "written": "Same title and description, letter by letter",
    "prepared": "Same text after preparation, as the models read it",
    "image": "Same image, byte by byte",
}


def keys(rows: pd.DataFrame, digests: Mapping[str, str] | None = None) -> dict[str, pd.Series]:
    """What products must share to be the same, in each sense of `SAME`; empty where nothing is.

    Args:
        rows: Of the material.
        digests: Hash of each image's content, by its reference.
    """
    known = digests or {}
    title, description = rows["designation"].str.strip(), rows["description"].str.strip()
    return {
        "written": (title + "\0" + description).where(rows["has_text"], ""),
        "prepared": rows["text"],
        "image": pd.Series([known.get(one, "") for one in rows["image"]], rows.index, dtype=str),
    }


def summary(rows: pd.DataFrame, digests: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Count what is there more than once, a line for each sense of `SAME`.

    Columns: `groups` of equal products, `products` in them, `superfluous` beside the first of each
    group; `contradicting` products, whose group has several categories; `leaking` products of the
    test part that are also among those that are trained on. All but the last are about rows that
    a person labelled.
    """
    ours = ~rows["part"].isin(WEAK)
    lines = {}
    for sense, key in keys(rows, digests).items():
        groups = groups_of(rows[ours], key[ours])
        lines[SAME[sense]] = (
            groups["group"].nunique(),
            len(groups),
            len(groups) - groups["group"].nunique(),
            int(groups["is_contradicting"].sum()),
            _leaking(rows, key),
        )
    columns = ["groups", "products", "superfluous", "contradicting", "leaking"]
    return pd.DataFrame.from_dict(lines, orient="index", columns=columns)


def groups_of(rows: pd.DataFrame, key: pd.Series) -> pd.DataFrame:
    """Products that share a key with another: `group`, `code`, `is_contradicting`."""
    again = (key != "") & key.duplicated(keep=False)
    codes = rows.loc[again, "code"]
    group = pd.Series(pd.factorize(key[again])[0], codes.index, dtype="int64")
    torn = codes.groupby(group).transform("nunique") > 1
    return pd.DataFrame({"group": group, "code": codes, "is_contradicting": torn.astype(bool)})


def contradictions(
    rows: pd.DataFrame, digests: Mapping[str, str] | None = None, *, most: int = 30
) -> pd.DataFrame:
    """Examples of equal products with different categories, the largest groups first.

    Returns:
        `same` (in which sense), `designation`, `codes` and `rows`, the row numbers.
    """
    rows = rows[~rows["part"].isin(WEAK)]
    lines: list[tuple[str, str, list[int], list[int | str]]] = []
    for sense, key in keys(rows, digests).items():
        if sense == "written":
            # These are among the prepared ones.
            continue
        found = groups_of(rows, key)
        torn = found[found["is_contradicting"]]
        for _, group in sorted(torn.groupby("group"), key=lambda one: -len(one[1]))[:most]:
            title = str(rows["designation"].loc[group.index[0]])
            codes = sorted({int(code) for code in group["code"]})
            lines.append((SAME[sense], title, codes, group.index.tolist()))
    return pd.DataFrame(lines, columns=["same", "designation", "codes", "rows"])


def confused_pairs(
    rows: pd.DataFrame, digests: Mapping[str, str] | None = None, *, most: int = 15
) -> pd.DataFrame:
    """Pairs of categories that equal products are labelled with: `one`, `other`, `groups`."""
    rows = rows[~rows["part"].isin(WEAK)]
    of_sense = keys(rows, digests)
    pairs: dict[tuple[int, int], int] = {}
    for sense in ("prepared", "image"):
        found = groups_of(rows, of_sense[sense])
        for _, group in found[found["is_contradicting"]].groupby("group"):
            codes = sorted({int(code) for code in group["code"]})
            for place, one in enumerate(codes):
                for other in codes[place + 1 :]:
                    pairs[one, other] = pairs.get((one, other), 0) + 1
    best = sorted(pairs.items(), key=lambda pair: -pair[1])[:most]
    lines = [(*pair, groups) for pair, groups in best]
    return pd.DataFrame(lines, columns=["one", "other", "groups"])


def _leaking(rows: pd.DataFrame, key: pd.Series) -> int:
    is_test = rows["part"] == "test"
    return int(key[is_test & (key != "")].isin(key[~is_test]).sum())
