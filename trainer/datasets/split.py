"""Splits products into train, validation and test by a hash of the title.

A product therefore keeps its part when others are added, and products whose titles differ only in
case, accents or punctuation share a part.
"""

import hashlib
import unicodedata

import numpy as np
import pandas as pd

#: Share held out for testing, never trained on.
TEST_SHARE = 0.1
#: Share of the labelled answers, newest first, that are held out for testing until newer ones take
#: their place. They decide if a release is better on what comes now, and
#: `trainer.release.labelled_answers` needs 50 of them.
NEWEST_TEST_SHARE = 0.25
#: Largest number of these.
NEWEST_TEST_ROWS = 100
#: Share of the rest held out for calibration and model selection.
VALIDATION_SHARE = 0.1


def split_key(title: str) -> str:
    """Return the letters and digits of a title, which near-duplicates have in common."""
    plain = unicodedata.normalize("NFKD", title.casefold())
    return "".join(character for character in plain if character.isalnum())


def hashed_parts(rows: pd.DataFrame, *, seed: int = 0, kept: pd.Series | None = None) -> pd.Series:
    """Assign each row its part: `train`, `validation` or `test`.

    Each category keeps at least one training row. With three titles or more, one is moved to
    `test` and one to `validation` if their categories keep another title to train on.

    The newest labelled answers are test rows, whatever their hash, until newer ones take their
    place. By then the release that they helped to choose is the champion, and would seem better on
    them than it is. A row that was trained on never becomes a test row.

    Args:
        rows: Table with `designation`, `description`, `image_name` and `code`; with `labelled_by`
            and `answered_at`, rows whose author it names are labelled answers.
        seed: Moves rows between `train` and `validation`, never to or from `test`.
        kept: Parts already assigned to some rows. They stay, and rows with equal titles join them;
            only labelled answers that were among the newest leave `test`.

    Returns:
        Part of each row, with the index of `rows`.
    """
    keys = pd.Series(_keys(rows), index=rows.index, dtype=object)
    unique = pd.Index(keys.unique())
    of_test = np.array([_share("test", key) for key in unique])
    of_rest = np.array([_share(f"validation {seed}", key) for key in unique])
    if kept is None:
        kept = pd.Series([], dtype=object, index=rows.index[:0])
    newest = _newest_labelled(rows, keys, kept)
    tests = (of_test < TEST_SHARE) | unique.isin(newest)
    side = np.where(tests, "test", np.where(of_rest < VALIDATION_SHARE, "validation", "train"))
    kept = kept[~_leaves_test(rows, keys, kept, unique[tests])]
    sides = dict(zip(unique, side, strict=True))
    sides |= dict(zip(keys.loc[kept.index], kept, strict=True))
    parts = keys.map(sides).astype(object)
    parts[kept.index] = kept
    is_free = ~keys.isin(keys.loc[kept.index])
    _leave_some_to_train(parts, keys, rows["code"], kept.index)
    for part, order in (("test", of_test), ("validation", of_rest)):
        _require_some(part, parts, keys[is_free], rows["code"], unique[np.argsort(order)])
    return parts


def _newest_labelled(rows: pd.DataFrame, keys: pd.Series, kept: pd.Series) -> pd.Series:
    """Return the keys of the newest labelled answers that no release was trained on.

    Each author has the same share of them as of all labels, whoever labelled last.
    """
    labelled = rows[_is_labelled(rows)]
    if labelled.empty:
        return keys[:0]
    labelled = labelled.assign(key=keys)
    size = min(NEWEST_TEST_ROWS, round(NEWEST_TEST_SHARE * len(labelled)))
    trained = keys[kept.index[kept != "test"]]
    untrained = labelled[~labelled["key"].isin(trained)].sort_values(["answered_at", "key"])
    author = untrained["labelled_by"]
    newer = author.groupby(author).cumcount(ascending=False)
    age = (newer + 1) / author.map(labelled["labelled_by"].value_counts())
    return untrained["key"][age.sort_values(kind="stable").index[:size]]


def _leaves_test(
    rows: pd.DataFrame, keys: pd.Series, kept: pd.Series, tests: pd.Index
) -> pd.Series:
    """Return a mask of the kept test rows that were there only as the newest labelled answers."""
    of_files = keys[~_is_labelled(rows)]
    kept_keys = keys[kept.index]
    return (kept == "test") & ~kept_keys.isin(tests) & ~kept_keys.isin(of_files)


def _is_labelled(rows: pd.DataFrame) -> pd.Series:
    """Return a mask of the labelled answers."""
    if "labelled_by" not in rows:
        return pd.Series(False, rows.index)
    return rows["labelled_by"] != ""


def _keys(rows: pd.DataFrame) -> list[str]:
    columns = (rows["designation"], rows["description"], rows["image_name"])
    # Products without text are identified by their image.
    return [
        split_key(title) or split_key(text) or image
        for title, text, image in zip(*columns, strict=True)
    ]


def _share(purpose: str, key: str) -> float:
    """Return a number from 0 to 1 that is the same on every machine."""
    digest = hashlib.sha256(f"{purpose}\0{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2.0**64


def _leave_some_to_train(
    parts: pd.Series, keys: pd.Series, codes: pd.Series, kept: pd.Index
) -> None:
    """Move titles of categories without training rows to `train`; rows of `kept` only if needed."""
    for movable in (~codes.index.isin(kept), np.full(len(codes), True)):
        without_train = codes[~codes.isin(codes[parts == "train"]) & movable]
        parts[keys.isin(keys[without_train.index]) & movable] = "train"


def _require_some(
    part: str, parts: pd.Series, keys: pd.Series, codes: pd.Series, order: pd.Index
) -> None:
    """Move one title to an empty part if its categories keep another title to train on."""
    if (parts == part).any():
        return
    keys = keys[parts[keys.index] == "train"]
    codes = codes[keys.index]
    has_others = keys.groupby(codes).transform("nunique") > 1
    can_be_spared = has_others.groupby(keys).all()
    spared = order[order.isin(can_be_spared.index[can_be_spared])]
    if len(spared):
        parts[keys.index[keys == spared[0]]] = part
