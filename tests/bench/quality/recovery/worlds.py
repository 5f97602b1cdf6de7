"""Kinds of change that stay, made of real rows: the products before and after each of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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
#: Products of a window, windows before the change, and windows after it at most. The sample has
#: English products for no more of them.
WINDOW, BEFORE, AFTER = 350, 3, 14
#: Products before the change, and after it, that are never sent; see `held_products`. With fewer,
#: chance decides about small losses.
HELD = 1_500
#: Share of the products after the change that are of the new kind.
NEW_SHARE = 0.3
#: Share of their rows that rare categories have before the change, and of the products after it.
RARE_SHARE, RISEN_SHARE = 0.1, 0.6
#: Parts of a category by the words of its titles, the largest share of the part that is held back,
#: and how finely the words are compared. Of finer parts, too few products would be held back.
PARTS, LARGEST_PART, WORDS, TOPICS = 3, 0.4, 20_000, 50

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
    is_new = other_words(rows)
    old, others = _parted(rows[~is_new])
    after = _mixed(rows[is_new], others)
    about = f"{is_new[after.index].mean():.0%} are of the old categories with words of their own"
    return _world("vocabulary", about, old, after)


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


def other_words(rows: Rows) -> NDArray[np.bool_]:
    """Return a mask of the rows to hold back: of each category, a part with words of its own.

    The titles of a category are parted in three by their words. The part is held back that is least
    like the others, of those that are not most of the category. Held back in all categories, new
    products change the mix of categories little.
    """
    is_new = np.zeros(len(rows), np.bool_)
    for code in rows["code"].unique():
        places = np.flatnonzero(rows["code"] == code)
        is_new[places[_least_like(rows["designation"].iloc[places])]] = True
    return is_new


def _least_like(titles: "pd.Series[str]") -> NDArray[np.bool_]:
    """Return a mask of the titles of the part that is least like the others."""
    found = TfidfVectorizer(max_features=WORDS, min_df=2).fit_transform(titles)
    topics = TruncatedSVD(min(TOPICS, found.shape[1] - 1), random_state=0).fit_transform(found)
    part = KMeans(PARTS, n_init=3, random_state=0).fit_predict(topics)
    masks = [part == number for number in range(PARTS)]
    small = [mask for mask in masks if mask.mean() <= LARGEST_PART]
    return min(small, key=lambda mask: _likeness(found[mask], found[~mask]))


def _likeness(rows: Any, others: Any) -> float:
    """Return the cosine of the means of two groups of sparse rows."""
    first, second = (np.asarray(one.mean(axis=0)).ravel() for one in (rows, others))
    return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))
