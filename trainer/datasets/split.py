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
#: Share of labelled answers held out for testing at first. They decide if a release is better on
#: what comes now, and `trainer.release.labelled_answers` needs 50 of them: 200 labels, 500 with a
#: tenth.
LABELLED_TEST_SHARE = 0.25
#: Labelled answers that test, from which on a tenth of further ones does, as of other rows.
ENOUGH_LABELLED = 150
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

    Args:
        rows: Table with `designation`, `description`, `image_name` and `code`; with `labelled_by`,
            rows whose author it names are labelled answers.
        seed: Moves rows between `train` and `validation`, never to or from `test`.
        kept: Parts already assigned to some rows. They stay, and rows with equal titles join them.

    Returns:
        Part of each row, with the index of `rows`.
    """
    keys = pd.Series(_keys(rows), index=rows.index, dtype=object)
    unique = pd.Index(keys.unique())
    of_test = np.array([_share("test", key) for key in unique])
    of_rest = np.array([_share(f"validation {seed}", key) for key in unique])
    if kept is None:
        kept = pd.Series([], dtype=object, index=rows.index[:0])
    is_labelled = _is_labelled(rows)
    tested = is_labelled[kept.index] & (kept == "test")
    new = int(is_labelled.sum() - is_labelled[kept.index].sum())
    share = labelled_test_share(new, int(tested.sum()))
    side = np.where(
        of_test < np.where(unique.isin(keys[is_labelled]), share, TEST_SHARE),
        "test",
        np.where(of_rest < VALIDATION_SHARE, "validation", "train"),
    )
    sides = dict(zip(unique, side, strict=True))
    sides |= dict(zip(keys.loc[kept.index], kept, strict=True))
    parts = keys.map(sides).astype(object)
    parts[kept.index] = kept
    is_free = ~keys.isin(keys.loc[kept.index])
    _leave_some_to_train(parts, keys, rows["code"], kept.index)
    for part, order in (("test", of_test), ("validation", of_rest)):
        _require_some(part, parts, keys[is_free], rows["code"], unique[np.argsort(order)])
    return parts


def labelled_test_share(new: int, tested: int) -> float:
    """Return the share of new labelled answers to hold out for testing.

    Args:
        new: Number of labelled answers without a part.
        tested: Number of those that test already.
    """
    wanted = (ENOUGH_LABELLED - tested) / max(new, 1)
    return min(LABELLED_TEST_SHARE, max(TEST_SHARE, wanted))


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
