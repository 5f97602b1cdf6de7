"""Kinds of change that stay, made of real rows: the products before and after each of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from shared.inference.preparation.text import product_text
from tests.bench.quality.shifts import cut
from trainer.datasets.folder import Dataset
from trainer.datasets.languages import detect

#: Rows of the first dataset: enough test rows to show that a release is not worse on them.
FIRST = 6_000
#: Products of a window, windows before the change, and windows after it at most.
WINDOW, BEFORE, AFTER = 500, 2, 10
#: Products before the change, and after it, that are never sent; see `held_products`. With fewer,
#: chance decides about small losses.
HELD = 1_500
#: Share of the products after the change that are of the new kind.
NEW_SHARE = 0.3
#: Share of their rows that rare categories have before the change, and of the products after it.
RARE_SHARE, RISEN_SHARE = 0.1, 0.6
#: Categories whose words are compared, the largest ones, and how finely.
CLUSTERED, WORDS, TOPICS = 10, 20_000, 50

COLUMNS = ["designation", "description", "code"]


@dataclass(frozen=True)
class World:
    """Products before and after a change.

    Attributes:
        first: Rows of the first dataset.
        before: Products of the windows before the change.
        after: Products of the windows after it.
        held_before: Products as before the change, of which none is sent or trained on.
        held_after: The same as after the change.
        about: The change in a sentence.
    """

    name: str
    about: str
    first: pd.DataFrame
    before: pd.DataFrame
    after: pd.DataFrame
    held_before: pd.DataFrame
    held_after: pd.DataFrame


Rows = pd.DataFrame
Change = Callable[[Rows, np.random.Generator], World]


def world(name: str, data: Dataset, seed: int) -> World:
    """Return the world of a kind of change; the seed draws the rows and their order."""
    rows = data.part("train", "validation", "test", text=True)[COLUMNS]
    rows = rows.drop_duplicates(["designation"]).sample(frac=1.0, random_state=seed)
    return KINDS[name](rows.reset_index(drop=True), np.random.default_rng(seed))


def _control(rows: Rows, random: np.random.Generator) -> World:
    old, after = _parted(rows)
    return _world("control", "Nothing changes", old, after)


def _new_category(rows: Rows, random: np.random.Generator) -> World:
    code = rows["code"].value_counts().index[0]
    is_new = rows["code"] == code
    old, others = _parted(rows[~is_new])
    return _world("new category", f"Category {code} appears", old, _mixed(rows[is_new], others))


def _vocabulary(rows: Rows, random: np.random.Generator) -> World:
    is_new, codes = _other_words(rows)
    old, others = _parted(rows[~is_new])
    about = f"Other products of the categories {', '.join(map(str, codes))}"
    return _world("vocabulary", about, old, _mixed(rows[is_new], others))


def _language(rows: Rows, random: np.random.Generator) -> World:
    pairs = zip(rows["designation"], rows["description"], strict=True)
    language = np.array(detect(product_text(title, body) for title, body in pairs))
    old, others = _parted(rows[language == "French"])
    after = _mixed(rows[language == "English"], others)
    share = (language[after.index] == "English").mean()
    about = f"{share:.0%} of the products are in English, after French ones alone"
    return _world("language", about, old, after)


def _cut_titles(rows: Rows, random: np.random.Generator) -> World:
    old, after = _parted(rows)
    after = cut(after)
    after = after[after["has_text"]][COLUMNS]
    return _world("cut titles", "Titles end after 15 characters, no descriptions", old, after)


def _other_mix(rows: Rows, random: np.random.Generator) -> World:
    rare = sorted(rows["code"].unique())[::3]
    is_rare = rows["code"].isin(rare)
    is_kept = ~is_rare | (random.random(len(rows)) < RARE_SHARE)
    old, others = _parted(rows[is_kept])
    others = others[~others["code"].isin(rare)]
    about = f"{len(rare)} categories that were rare become {RISEN_SHARE:.0%} of the products"
    return _world("other mix", about, old, _mixed(rows[~is_kept], others, RISEN_SHARE))


KINDS: dict[str, Change] = {
    "new category": _new_category,
    "vocabulary": _vocabulary,
    "language": _language,
    "cut titles": _cut_titles,
    "other mix": _other_mix,
    "control": _control,
}


def _world(name: str, about: str, old: Rows, after: Rows) -> World:
    first, before, held_before = _consecutive(old, FIRST, BEFORE * WINDOW, HELD)
    sent, held_after = _consecutive(after, AFTER * WINDOW, HELD)
    return World(name, about, first, before, sent, held_before, held_after)


def _consecutive(rows: Rows, *sizes: int) -> list[Rows]:
    """Return the first rows in parts of these sizes."""
    ends = np.cumsum(sizes)
    return [rows.iloc[end - size : end] for end, size in zip(ends, sizes, strict=True)]


def _parted(rows: Rows) -> tuple[Rows, Rows]:
    """Return the rows of the world before, and others, which are in no dataset and no window."""
    size = FIRST + BEFORE * WINDOW + HELD
    return rows.iloc[:size], rows.iloc[size:]


def _mixed(new: Rows, others: Rows, share: float = NEW_SHARE) -> Rows:
    """Mix new products evenly among others, as many as there are, at most the share."""
    size = AFTER * WINDOW + HELD
    new = new.iloc[: round(size * share)]
    both = pd.concat([new, others.iloc[: size - len(new)]])
    return both.sample(frac=1.0, random_state=0)


def _other_words(rows: Rows) -> tuple[NDArray[np.bool_], list[int]]:
    """Return a mask of the rows to hold back, and their categories.

    The titles of each large category are parted in two by their words, and the smaller parts of
    those categories are held back whose parts are least alike.
    """
    splits = sorted(_split_categories(rows), key=lambda split: split[0])
    is_new, codes = np.zeros(len(rows), np.bool_), []
    for _, code, held in splits:
        if is_new.sum() >= NEW_SHARE * (AFTER * WINDOW + HELD):
            break
        is_new[held] = True
        codes.append(code)
    return is_new, codes


def _split_categories(rows: Rows) -> Iterator[tuple[float, int, NDArray[np.int64]]]:
    """Yield likeness of the two parts, code, and places of the smaller part of each category."""
    for code in rows["code"].value_counts().index[:CLUSTERED]:
        places = np.flatnonzero(rows["code"] == code)
        words = TfidfVectorizer(max_features=WORDS, min_df=3)
        found = words.fit_transform(rows["designation"].iloc[places])
        topics = TruncatedSVD(TOPICS, random_state=0).fit_transform(found)
        part = KMeans(2, n_init=5, random_state=0).fit_predict(topics)
        first, second = (np.asarray(found[part == one].mean(axis=0)).ravel() for one in (0, 1))
        likeness = float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))
        yield likeness, int(code), places[part == np.bincount(part, minlength=2).argmin()]
