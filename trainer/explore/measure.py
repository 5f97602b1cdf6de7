"""Counts what a table of products shows; every function gives a table.

Rows are those of `trainer.explore.material.Material`. A column whose name says `share` is a part of
one; tables by category are indexed by code.
"""

import re

import ftfy.badness
import numpy as np
import pandas as pd

#: The columns that people write, and what they are called.
TEXTS = {"designation": "Title", "description": "Description"}
#: Bars of a histogram, beside the last one for all that is longer.
BINS = 24
#: A histogram's own bars reach up to this quantile: a few very long texts would flatten it.
LONGEST = 0.95

_MARKUP = {
    "HTML tags": re.compile(r"<[a-zA-Z/!][^<>]{0,300}>"),
    "HTML entities such as &amp;": re.compile(r"&#?\w{2,8};"),
}


def balance(rows: pd.DataFrame, official_share: dict[int, float] | None = None) -> pd.DataFrame:
    """Products of each category, most first: `products`, `share`, `official_share` where known."""
    products = rows["code"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    table = pd.DataFrame({"products": products, "share": products / max(len(rows), 1)})
    if official_share:
        table["official_share"] = table.index.map(official_share)
    return table.rename_axis("code")


def effective_categories(rows: pd.DataFrame) -> float:
    """How many equally large categories would be as varied as these.

    The exponential of the Shannon entropy of the shares; Hill, "Diversity and evenness", Ecology
    54(2), 1973, number of order 1.
    """
    share = rows["code"].value_counts(normalize=True).to_numpy()
    return float(np.exp(-(share * np.log(share)).sum())) if len(share) else 0.0


def lengths(rows: pd.DataFrame) -> pd.DataFrame:
    """How long texts are that are there at all: a line for each text and unit."""
    lines = {}
    for column, name in TEXTS.items():
        for unit in ("characters", "words"):
            long = counted_length(rows[column], unit)
            quantiles = long.quantile([0.05, 0.5, 0.95], "nearest") if len(long) else [0.0] * 3
            lines[f"{name}, {unit}"] = (len(long), *quantiles, long.max() if len(long) else 0)
    columns = ["products", "five_percent_up_to", "half_up_to", "five_percent_from", "longest"]
    return pd.DataFrame.from_dict(lines, orient="index", columns=columns)


def counted_length(texts: pd.Series, unit: str) -> pd.Series:
    """Length of each text that is not empty, as it was written, in `characters` or `words`."""
    there = texts.str.strip()
    there = there[there != ""]
    long = [len(text) if unit == "characters" else len(text.split()) for text in there]
    return pd.Series(long, there.index, dtype="int64")


def histogram(values: pd.Series) -> pd.DataFrame:
    """Count values in bars of equal width: `low`, `high` (of the last, the largest), `products`."""
    if not len(values):
        return pd.DataFrame({"low": [], "high": [], "products": []}, dtype="int64")
    width = max(1, int(np.ceil(values.quantile(LONGEST) / BINS)))
    place = np.minimum(values.to_numpy() // width, BINS)
    counts = np.bincount(place.astype(np.int64), minlength=place.max() + 1)
    low = np.arange(len(counts)) * width
    high = low + width - 1
    high[-1] = max(high[-1], values.max())
    return pd.DataFrame({"low": low, "high": high, "products": counts})


def text_by_category(rows: pd.DataFrame) -> pd.DataFrame:
    """By category: words of titles and descriptions in the middle, and what has no description.

    Products of which only the image is known do not count.
    """
    rows = rows[rows["has_text"]]
    missing = rows["description"].str.strip() == ""
    by = rows["code"]
    table = pd.DataFrame(
        {
            "products": by.groupby(by).size(),
            "median_title_words": _median_words(rows["designation"], by),
            "median_description_words": _median_words(rows["description"], by),
            "without_description": missing.groupby(by).sum(),
            "share_without_description": missing.groupby(by).mean(),
        }
    )
    return table.rename_axis("code").sort_values(
        "share_without_description", ascending=False, kind="stable"
    )


def oddities(rows: pd.DataFrame) -> pd.DataFrame:
    """How many titles and descriptions have what the preparation of text has to undo."""
    lines = {}
    for column, name in TEXTS.items():
        texts = rows[column]
        for what, pattern in _MARKUP.items():
            lines[f"{name} with {what}"] = texts.str.contains(pattern)
        bad = pd.Series([ftfy.badness.is_bad(text) for text in texts], texts.index, dtype=bool)
        lines[f"{name} with broken characters such as Ã©"] = bad
    return pd.DataFrame(
        [(int(mask.sum()), _share(mask)) for mask in lines.values()],
        index=list(lines),
        columns=["products", "share"],
    )


def parts(rows: pd.DataFrame) -> pd.DataFrame:
    """The parts of a dataset side by side; they should be alike."""
    table = {
        part: (
            len(group),
            group["code"].nunique(),
            float(counted_length(group["designation"], "words").median()),
            _share(group["description"].str.strip() == ""),
            _share(~group["has_text"]),
            _share(group["image"] != ""),
        )
        for part, group in rows.groupby("part", sort=False)
    }
    columns = [
        "products",
        "categories",
        "median_title_words",
        "share_without_description",
        "share_without_text",
        "share_with_image",
    ]
    return pd.DataFrame.from_dict(table, orient="index", columns=columns)


def _median_words(texts: pd.Series, by: pd.Series) -> pd.Series:
    long = counted_length(texts, "words")
    return long.groupby(by[long.index]).median()


def _share(mask: pd.Series) -> float:
    return float(mask.mean()) if len(mask) else 0.0
