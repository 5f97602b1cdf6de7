"""Computes statistics of a table of products.

Rows are those of `trainer.explore.material.Material`. Columns with `share` in their name are
fractions of 1; tables by category are indexed by code.
"""

import re

import ftfy.badness
import numpy as np
import pandas as pd

#: Text columns and their display names.
TEXTS = {"designation": "Title", "description": "Description"}
#: Bars of a histogram, plus one for all longer texts.
BINS = 24
#: Quantile that the regular bars cover; a few very long texts would flatten the histogram.
BARS_QUANTILE = 0.95

_MARKUP = {
    "HTML tags": re.compile(r"<[a-zA-Z/!][^<>]{0,300}>"),
    "HTML entities such as &amp;": re.compile(r"&#?\w{2,8};"),
}


def balance(rows: pd.DataFrame, official_share: dict[int, float] | None = None) -> pd.DataFrame:
    """Count products by category, largest first: `products`, `share`, `official_share` if known."""
    products = rows["code"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    table = pd.DataFrame({"products": products, "share": products / max(len(rows), 1)})
    if official_share:
        table["official_share"] = table.index.map(official_share)
    return table.rename_axis("code")


def effective_categories(rows: pd.DataFrame) -> float:
    """Return the number of equally large categories with the same diversity.

    This is the exponential of the Shannon entropy of the shares; Hill, "Diversity and evenness",
    Ecology 54(2), 1973, number of order 1.
    """
    share = rows["code"].value_counts(normalize=True).to_numpy()
    return float(np.exp(-(share * np.log(share)).sum())) if len(share) else 0.0


def lengths(rows: pd.DataFrame) -> pd.DataFrame:
    """Return quantiles of the lengths of non-empty texts, a line for each text and unit."""
    lines = {}
    for column, name in TEXTS.items():
        for unit in ("characters", "words"):
            counts = counted_length(rows[column], unit)
            quantiles = counts.quantile([0.05, 0.5, 0.95], "nearest") if len(counts) else [0.0] * 3
            lines[f"{name}, {unit}"] = (len(counts), *quantiles, counts.max() if len(counts) else 0)
    columns = ["products", "p5", "median", "p95", "longest"]
    return pd.DataFrame.from_dict(lines, orient="index", columns=columns)


def counted_length(texts: pd.Series, unit: str) -> pd.Series:
    """Count the `characters` or `words` of each non-empty text as written."""
    stripped = texts.str.strip()
    stripped = stripped[stripped != ""]
    counts = [len(text) if unit == "characters" else len(text.split()) for text in stripped]
    return pd.Series(counts, stripped.index, dtype="int64")


def histogram(values: pd.Series) -> pd.DataFrame:
    """Count values in bars of equal width: `low`, `high` (last: the maximum), `products`."""
    if not len(values):
        return pd.DataFrame({"low": [], "high": [], "products": []}, dtype="int64")
    width = max(1, int(np.ceil(values.quantile(BARS_QUANTILE) / BINS)))
    place = np.minimum(values.to_numpy() // width, BINS)
    counts = np.bincount(place.astype(np.int64), minlength=place.max() + 1)
    low = np.arange(len(counts)) * width
    high = low + width - 1
    high[-1] = max(high[-1], values.max())
    return pd.DataFrame({"low": low, "high": high, "products": counts})


def text_by_category(rows: pd.DataFrame) -> pd.DataFrame:
    """Return median text lengths and missing descriptions by category.

    Products without any text are ignored.
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
    """Count titles and descriptions with artefacts that text preparation removes."""
    lines = {}
    for column, name in TEXTS.items():
        texts = rows[column]
        for what, pattern in _MARKUP.items():
            lines[f"{name} with {what}"] = texts.str.contains(pattern)
        is_broken = pd.Series(
            [ftfy.badness.is_bad(text) for text in texts], texts.index, dtype=bool
        )
        lines[f"{name} with broken characters such as Ã©"] = is_broken
    return pd.DataFrame(
        [(int(mask.sum()), _share(mask)) for mask in lines.values()],
        index=list(lines),
        columns=["products", "share"],
    )


def parts(rows: pd.DataFrame) -> pd.DataFrame:
    """Compare the parts of a dataset, which should be similar."""
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
    counts = counted_length(texts, "words")
    return counts.groupby(by[counts.index]).median()


def _share(mask: pd.Series) -> float:
    return float(mask.mean()) if len(mask) else 0.0
