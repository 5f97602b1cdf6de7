"""Composes the sections of the page from text, charts and tables."""

import base64
from collections.abc import Sequence

import pandas as pd

from trainer.datasets import languages
from trainer.datasets.findings import Level
from trainer.datasets.images import file_name
from trainer.explore import charts, duplicates, images, measure, words
from trainer.explore.blocks import Figure, Section, Sheet, Table
from trainer.explore.figures import figure
from trainer.explore.images import ImageSurvey
from trainer.explore.material import UNSPLIT, Material
from trainer.pages.svg import Chart

#: Number of categories with words and image sheets, the largest first.
MAX_CATEGORIES = 200
#: Thumbnails per category and in total, which keep the page under 15 MB.
SHEET_IMAGES, ALL_SHEETS_IMAGES = 16, 2_000
TITLE_CHARACTERS = 120
ROWS_NAMED = 5
LANGUAGES_DRAWN = 10


def sheet_size(categories: int) -> int:
    """Return the number of images per sheet that keeps the page small."""
    return min(SHEET_IMAGES, max(1, ALL_SHEETS_IMAGES // max(1, min(categories, MAX_CATEGORIES))))


def findings(material: Material, survey: ImageSurvey) -> Section:
    """Describe the findings of the check."""
    report = material.report(survey.unreadable)
    found = sorted(report.findings, key=lambda item: item.severity)
    table = pd.DataFrame(
        [
            (
                item.severity,
                item.message,
                item.count,
                _few(item.lines, item.count),
                _few(item.rows, item.count),
                item.code,
            )
            for item in found
        ],
        columns=["severity", "finding", "products", "lines", "rows", "code"],
    ).set_index("severity")
    lead = "An error prevents training; a warning does not, but should be reviewed."
    if not found:
        return Section("findings", "Findings", ("The check has no findings.",))
    return Section(
        "findings",
        "Findings",
        (lead, "`python -m trainer check` prints the same report; stored versions keep theirs."),
        (Figure("Findings, with lines and row numbers of the file", Table.of(table, "Severity")),),
    )


def categories(material: Material) -> Section:
    """Describe the distribution of products over categories."""
    table = measure.balance(material.labelled, material.official_share)
    if table.empty:
        return Section("categories", "Categories", ("No product has a label.",))
    most, least = table["products"].max(), table["products"].min()
    lead = [
        f"{_count(len(table), 'category', 'categories')}; the largest has "
        f"{_count(most, 'product')}, {figure(most / least, 'times')} times as many as the smallest "
        f"with {_count(least, 'product')}.",
        "The effective number of categories, the number of equally large ones with the same "
        f"diversity, is {measure.effective_categories(material.labelled):.1f}.",
    ]
    named = material.named(table)
    marks = named.get("official_share")
    if marks is not None:
        lead.append("Ticks mark the share of each category in the official data.")
    chart = charts.bars(named["share"], name="share", marks=marks)
    shown = [Figure(_by_category(len(table), "Share of the products"), _by(named), chart)]
    if levels := material.report().levels:
        lead.append("The names are paths in a tree; a level counts the products below it too.")
        shown.append(Figure("By level of the tree", _of_levels(levels)))
    return Section("categories", "Categories", tuple(lead), tuple(shown))


def _of_levels(levels: Sequence[Level]) -> Table:
    frame = pd.DataFrame(
        [
            (one.categories, one.smallest, one.smallest_rows, one.largest, one.largest_rows)
            for one in levels
        ],
        index=[str(one.level) for one in levels],
        columns=["categories", "smallest", "smallest_products", "largest", "largest_products"],
    )
    return Table.of(frame, "Level")


def parts(material: Material) -> Section:
    """Describe the parts of the dataset and the sources of their labels."""
    table = measure.parts(material.rows)
    lead: tuple[str, ...] = (
        "Models are fitted on `train`, selected on `validation` and reported on `test`. Labels of "
        "`weak` rows come from other systems: these rows are used for training but never for "
        "evaluation; `weak_held` rows are reserved for the fusion. The parts should be similar.",
        "The following sections cover only rows labelled by people, unless stated otherwise.",
    )
    if UNSPLIT in table.index:
        lead = ("The dataset cannot be trained on yet, so it is not split into parts.",)
    return Section("parts", "Parts and sources", lead, (Figure("Parts", Table.of(table, "Part")),))


def lengths(material: Material) -> Section:
    """Describe the lengths of titles and descriptions."""
    rows = material.labelled
    table = measure.lengths(rows)
    shown = [Figure("Lengths of non-empty texts, as written", Table.of(table, "Text"))]
    for column, name in measure.TEXTS.items():
        for unit in ("characters", "words"):
            spread = measure.histogram(measure.counted_length(rows[column], unit))
            if len(spread):
                caption = f"{name}: products by {unit}; the last column is all longer texts"
                table = spread.set_index(spread["low"].astype(str)).drop(columns="low")
                shown.append(
                    Figure(caption, Table.of(table, "From"), charts.columns(spread, name=unit))
                )
    by_category = measure.text_by_category(rows).drop(columns="share_without_description")
    shown.append(Figure("By category", _by(material.named(by_category))))
    shown.append(
        Figure(
            "Artefacts that text preparation removes before a model reads the text",
            Table.of(measure.oddities(rows), "Artefact"),
        )
    )
    return Section("lengths", "Text lengths", (), tuple(shown))


def missing(material: Material) -> Section:
    """Describe the products without a description, by category."""
    table = measure.text_by_category(material.labelled)
    if table.empty:
        return Section("missing", "Missing descriptions", ("No product has a text.",))
    without, all_ = table["without_description"].sum(), table["products"].sum()
    lead = (
        f"{figure(without, 'products')} of {_count(all_, 'product')} with a text have no "
        f"description ({figure(without / all_, 'share')}). Models see only their title.",
    )
    named = material.named(table)[["products", "without_description", "share_without_description"]]
    chart = charts.bars(named["share_without_description"], name="share")
    caption = _by_category(len(table), "Share without a description")
    return Section("missing", "Missing descriptions", lead, (Figure(caption, _by(named), chart),))


def language_shares(material: Material) -> Section:
    """Describe the languages of the texts."""
    rows = material.labelled
    found = pd.Series(languages.detect(rows["text"]), rows.index, dtype=object)
    overview = languages.overview(found)
    lead = (
        "Detected in the prepared title and description. Texts that are too short or too mixed, "
        "such as names and numbers, count as unsure.",
    )
    common = overview["share"].head(LANGUAGES_DRAWN)
    by_category = languages.by_category(found, rows["code"])
    order = measure.balance(rows).index
    named = material.named(by_category.reindex(order))
    named.columns = pd.Index([f"{name} share" for name in named.columns])
    bare = named.set_axis(by_category.columns, axis="columns")
    return Section(
        "languages",
        "Languages",
        lead,
        (
            Figure("All products", Table.of(overview, "Language"), _bars(common)),
            Figure(
                _by_category(len(named), "Languages"),
                _by(named),
                charts.stacked(bare) if len(bare) else None,
            ),
        ),
    )


def vocabulary(material: Material) -> Section:
    """Describe the frequent and the distinctive words of each category."""
    rows = material.labelled
    order = measure.balance(rows).index[:MAX_CATEGORIES]
    rows = rows[rows["code"].isin(order) & (rows["text"] != "")]
    counts = words.count_words(rows["text"].tolist(), rows["code"].tolist())
    distinctive, common = words.distinctive(counts), words.frequent(counts)
    table = pd.DataFrame(
        {
            "distinctive_words": _listed(distinctive),
            "frequent_words_with_share": _listed(common, with_share=True),
        }
    )
    table = table.reindex([code for code in order if code in table.index]).fillna("–")
    omitted = ", ".join(words.common_words(counts)) or "none"
    lead = (
        "Each word counts once per product. Numbers and single letters are omitted, and so are "
        f"frequent words that are common in most categories: {omitted}.",
        "Look for words that should not be here: the name of a shop, a word from the label itself "
        "or words of another category.",
    )
    caption = _by_category(len(table), "Words", MAX_CATEGORIES)
    return Section("words", "Words", lead, (Figure(caption, _by(material.named(table))),))


def repeated_products(material: Material, survey: ImageSurvey) -> Section:
    """Describe duplicate products and images."""
    rows, digests = material.rows, survey.digests
    summary = Table.of(duplicates.summary(rows, digests), "Equality")
    shown = [Figure("Duplicate products", summary)]
    examples = duplicates.contradictions(rows, digests)
    if len(examples):
        pairs = duplicates.confused_pairs(rows, digests)
        shown += [_contradictions(material, examples), _contradicting_pairs(material, pairs)]
    lead = (
        "Redundant products add no information. Contradicting products have equal content but "
        "different labels: choose one. Leaking products are in the test part while an equal "
        "product is used for training, which inflates the measured quality.",
    )
    return Section("duplicates", "Duplicates", lead, tuple(shown))


def image_sizes(survey: ImageSurvey) -> Section:
    """Describe sizes, formats and faults of the images."""
    title = "Images"
    if survey.table.empty:
        return Section("images", title, ("This dataset has no images.",))
    readable = survey.readable
    blank = int(readable["is_blank"].sum())
    lead = (
        f"{_count(len(survey.table), 'image')}, including weak rows; "
        f"{figure(len(survey.unreadable), 'images')} cannot be read, and "
        f"{figure(blank, 'images')} are blank, of a single colour.",
    )
    shown = []
    if len(readable):
        by_size, by_kind = images.sizes(survey), images.kinds(survey)
        shown = [
            Figure("Width × height, in pixels", Table.of(by_size, "Size"), _bars(by_size["share"])),
            Figure("Smallest, median and largest", Table.of(images.extent(survey), "Measure")),
            Figure("Formats and colour modes", Table.of(by_kind, "Format")),
        ]
    if survey.unreadable:
        faults = images.faults(survey)
        faults["example"] = [file_name(reference) for reference in faults["example"]]
        shown.append(Figure("Unreadable images", Table.of(faults, "Fault")))
    return Section("images", title, lead, tuple(shown))


def sheets(material: Material, survey: ImageSurvey, chosen: dict[int, list[str]]) -> Section:
    """Show some images of each category, the largest category first."""
    title = "Image sheets"
    order = [code for code in measure.balance(material.labelled).index if code in chosen]
    thumbnails = survey.thumbnails
    shown = [
        Sheet(material.label(code), tuple(_data_uri(jpeg) for jpeg in jpegs))
        for code in order
        if (jpegs := [thumbnails[name] for name in chosen[code] if name in thumbnails])
    ]
    if not shown:
        return Section("sheets", title, ("There are no images to show.",))
    lead = "A random sample, the same one each time. Look for images of another category."
    return Section("sheets", title, (lead,), sheets=tuple(shown))


def _bars(shares: pd.Series) -> Chart:
    return charts.bars(shares, name="share")


def _by(named: pd.DataFrame) -> Table:
    return Table.of(named, "Category")


def _by_category(categories: int, subject: str, most: int = charts.MAX_BARS) -> str:
    more = f", the first {most} of {categories}" if categories > most else ""
    return f"{subject}, by category{more}"


def _contradictions(material: Material, examples: pd.DataFrame) -> Figure:
    lines = material.lines
    table = pd.DataFrame(
        {
            "lines": [
                _few([int(lines[number]) for number in numbers], len(numbers))
                if lines is not None
                else "–"
                for numbers in examples["rows"]
            ],
            "equal_in": examples["equal_in"],
            "categories": [" / ".join(map(material.label, codes)) for codes in examples["codes"]],
            "rows": [_few(numbers, len(numbers)) for numbers in examples["rows"]],
        }
    ).set_axis([_cut(title) for title in examples["designation"]], axis="index")
    caption = "Examples of equal products in different categories"
    return Figure(caption, Table.of(table, "Title"))


def _contradicting_pairs(material: Material, pairs: pd.DataFrame) -> Figure:
    other = pairs["other_category"].map(material.label)
    table = pd.DataFrame({"contradicts": other, "groups": pairs["groups"]})
    table = table.set_axis(pairs["category"].map(material.label), axis="index")
    return Figure("Pairs of contradicting categories", Table.of(table, "Category"))


def _listed(table: pd.DataFrame, *, with_share: bool = False) -> pd.Series:
    """Join the words of each category into one string."""
    texts = table["word"]
    if with_share:
        texts = texts + " " + table["share"].map("{:.0%}".format)
    return texts.groupby(table["code"]).agg(", ".join)


def _few(rows: Sequence[int | str], count: int) -> str:
    named = ", ".join(str(row) for row in rows[:ROWS_NAMED])
    return f"{named} …" if count > ROWS_NAMED else named


def _count(number: float, singular: str, plural: str = "") -> str:
    noun = singular if number == 1 else plural or f"{singular}s"
    return f"{figure(number, singular)} {noun}"


def _cut(title: str) -> str:
    return title if len(title) <= TITLE_CHARACTERS else f"{title[: TITLE_CHARACTERS - 1]}…"


def _data_uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
