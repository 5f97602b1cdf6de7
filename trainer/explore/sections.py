"""The sections of the page, each with what it says in words, in charts and in tables."""

import base64
from collections.abc import Sequence

import pandas as pd

from trainer.datasets import languages
from trainer.datasets.images import file_name
from trainer.explore import charts, duplicates, images, measure, words
from trainer.explore.blocks import Figure, Section, Sheet, Table
from trainer.explore.figures import figure
from trainer.explore.images import Looks
from trainer.explore.material import UNSPLIT, Material
from trainer.pages.svg import Chart

#: Words and image sheets are shown of so many categories, the largest.
LARGEST = 200
#: Small images of a category, and of all together: what keeps the page under 15 MB.
SHEET, ALL_SHEETS = 16, 2_000
TITLE_CHARACTERS = 120
ROWS_NAMED = 5
LANGUAGES_DRAWN = 10


def sheet_size(categories: int) -> int:
    """How many images each category's sheet has, so that the page stays small."""
    return min(SHEET, max(1, ALL_SHEETS // max(1, min(categories, LARGEST))))


def problems(material: Material, looks: Looks) -> Section:
    """What the check finds."""
    found = sorted(material.report(looks.unreadable).findings, key=lambda one: one.severity)
    table = pd.DataFrame(
        [
            (one.severity, one.message, one.count, _few(one.rows, one.count), one.code)
            for one in found
        ],
        columns=["kind", "what", "products", "rows", "name"],
    ).set_index("kind")
    lead = "With an error nothing can be trained. A warning is worth a look; training goes on."
    if not found:
        return Section("problems", "What is wrong", ("The check finds nothing wrong.",))
    return Section(
        "problems",
        "What is wrong",
        (lead, "The same is said by `python -m trainer check`, and kept with each stored version."),
        (Figure("Findings, by the row numbers of the file", Table.of(table, "Kind")),),
    )


def categories(material: Material) -> Section:
    """How the products are spread over the categories."""
    table = measure.balance(material.labelled, material.official_share)
    if table.empty:
        return Section("categories", "Categories", ("No product has a label.",))
    most, least = table["products"].max(), table["products"].min()
    lead = [
        f"{_count(len(table), 'category', 'categories')}; the largest has "
        f"{_count(most, 'product')}, {figure(most / least, 'times')} times as many as the smallest "
        f"with {_count(least, 'product')}.",
        f"They are as varied as {measure.effective_categories(material.labelled):.1f} equally "
        "large categories would be.",
    ]
    named = material.named(table)
    marks = named.get("official_share")
    if marks is not None:
        lead.append("A tick marks the share that the category has in official data.")
    chart = charts.bars(named["share"], name="share", marks=marks)
    shown = Figure(_by_category(len(table), "Share of the products"), _by(named), chart)
    return Section("categories", "Categories", tuple(lead), (shown,))


def parts(material: Material) -> Section:
    """How the rows are divided, and where their labels are from."""
    table = measure.parts(material.rows)
    lead: tuple[str, ...] = (
        "Models are fitted on `train`; `validation` decides between them; `test` only reports. "
        "Labels of `weak` rows were given by other systems: they are trained on and never "
        "measured on, and `weak_held` are those kept to fit the fusion. The parts should be alike.",
        "All that follows is about the rows that a person labelled, unless it says otherwise.",
    )
    if UNSPLIT in table.index:
        lead = ("The dataset cannot be trained on yet, so it is not divided into parts.",)
    return Section("parts", "Parts and sources", lead, (Figure("Parts", Table.of(table, "Part")),))


def lengths(material: Material) -> Section:
    """How long titles and descriptions are."""
    rows = material.labelled
    table = measure.lengths(rows)
    shown = [Figure("Lengths of the texts that are there, as written", Table.of(table, "Text"))]
    for column, name in measure.TEXTS.items():
        for unit in ("characters", "words"):
            spread = measure.histogram(measure.counted_length(rows[column], unit))
            if len(spread):
                caption = f"{name}: products by number of {unit}; the last column is all beyond"
                table = spread.set_index(spread["low"].astype(str)).drop(columns="low")
                shown.append(
                    Figure(caption, Table.of(table, "From"), charts.columns(spread, name=unit))
                )
    by_category = measure.text_by_category(rows).drop(columns="share_without_description")
    shown.append(Figure("By category", _by(material.named(by_category))))
    shown.append(
        Figure(
            "What the preparation of text undoes before a model reads it",
            Table.of(measure.oddities(rows), "What"),
        )
    )
    return Section("lengths", "Lengths of texts", (), tuple(shown))


def missing(material: Material) -> Section:
    """Which categories have products without a description."""
    table = measure.text_by_category(material.labelled)
    if table.empty:
        return Section("missing", "Missing descriptions", ("No product has a text.",))
    without, all_ = table["without_description"].sum(), table["products"].sum()
    lead = (
        f"{figure(without, 'products')} of {_count(all_, 'product')} with a text have no "
        f"description ({figure(without / all_, 'share')}). A model has only their title to go by.",
    )
    named = material.named(table)[["products", "without_description", "share_without_description"]]
    chart = charts.bars(named["share_without_description"], name="share")
    caption = _by_category(len(table), "Share without a description")
    return Section("missing", "Missing descriptions", lead, (Figure(caption, _by(named), chart),))


def spoken(material: Material) -> Section:
    """Which languages the texts are in."""
    rows = material.labelled
    found = pd.Series(languages.detect(rows["text"]), rows.index, dtype=object)
    overview = languages.overview(found)
    lead = (
        "A guess from the prepared title and description. Where a text is too short or too mixed "
        "to say, such as names and numbers, it is called unsure.",
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
    """Which words are frequent in each category, and which tell it apart."""
    rows = material.labelled
    order = measure.balance(rows).index[:LARGEST]
    rows = rows[rows["code"].isin(order) & (rows["text"] != "")]
    counts = words.count_words(rows["text"].tolist(), rows["code"].tolist())
    telling, common = words.distinctive(counts), words.frequent(counts)
    table = pd.DataFrame(
        {
            "words_that_tell_it_from_the_others": _listed(telling),
            "frequent_words_and_their_share": _listed(common, with_share=True),
        }
    )
    table = table.reindex([code for code in order if code in table.index]).fillna("–")
    everywhere = ", ".join(words.everyday(counts)) or "none"
    lead = (
        "A word counts once in a product. Numbers and single letters are left out, and so are, "
        f"from the frequent words, those that are about as frequent everywhere: {everywhere}.",
        "Look for words that should not be there: the name of a shop, a word of the label "
        "itself, or another category's words.",
    )
    caption = _by_category(len(table), "Words", LARGEST)
    return Section("words", "Words", lead, (Figure(caption, _by(material.named(table))),))


def repeated(material: Material, looks: Looks) -> Section:
    """Products and images that are there more than once."""
    rows, digests = material.rows, looks.digests
    torn = duplicates.contradictions(rows, digests)
    pairs = duplicates.confused_pairs(rows, digests)
    shown = [Figure("Products that are there more than once", _summary(rows, digests))]
    if len(torn):
        examples = pd.DataFrame(
            {
                "same": torn["same"],
                "categories": [" / ".join(map(material.label, codes)) for codes in torn["codes"]],
                "rows": [_few(one, len(one)) for one in torn["rows"]],
            }
        ).set_axis([_cut(title) for title in torn["designation"]], axis="index")
        shown.append(
            Figure("Equal products in different categories, examples", Table.of(examples, "Title"))
        )
        both = pd.DataFrame(
            {"and": pairs["other"].map(material.label), "groups": pairs["groups"]}
        ).set_axis(pairs["one"].map(material.label), axis="index")
        shown.append(Figure("Categories that are mixed up by this", Table.of(both, "Category")))
    lead = (
        "Superfluous products teach a model nothing new. Contradicting ones teach it that both "
        "categories are right: decide for one. Leaking ones are held out for the test while an "
        "equal product is trained on, which makes figures look better than they are.",
    )
    return Section("duplicates", "Duplicates", lead, tuple(shown))


def image_sizes(looks: Looks) -> Section:
    """How large the images are, and which cannot be read."""
    title = "Images"
    if looks.table.empty:
        return Section("images", title, ("This dataset has no images.",))
    readable = looks.readable
    blank = int(readable["is_blank"].sum())
    lead = (
        f"{_count(len(looks.table), 'image')}, weak rows' too; "
        f"{figure(len(looks.unreadable), 'images')} cannot be read, and "
        f"{figure(blank, 'images')} show nothing but one colour.",
    )
    shown = []
    if len(readable):
        by_size, by_kind = images.sizes(looks), images.kinds(looks)
        shown = [
            Figure("Width × height, in pixels", Table.of(by_size, "Size"), _bars(by_size["share"])),
            Figure("Smallest and largest", Table.of(images.extent(looks), "Measure")),
            Figure("Formats and colour modes", Table.of(by_kind, "Kind")),
        ]
    if looks.unreadable:
        wrong = images.faults(looks)
        wrong["example"] = [file_name(one) for one in wrong["example"]]
        shown.append(Figure("Images that cannot be read", Table.of(wrong, "What is wrong")))
    return Section("images", title, lead, tuple(shown))


def sheets(material: Material, looks: Looks, chosen: dict[int, list[str]]) -> Section:
    """Some images of each category, the largest category first."""
    title = "Image sheets"
    order = [code for code in measure.balance(material.labelled).index if code in chosen]
    shown = [
        Sheet(material.label(code), tuple(_address(looks.small[one]) for one in kept))
        for code in order
        if (kept := [one for one in chosen[code] if one in looks.small])
    ]
    if not shown:
        return Section("sheets", title, ("There is no image to show.",))
    lead = "Chosen by chance, the same ones each time. Look for images that belong elsewhere."
    return Section("sheets", title, (lead,), sheets=tuple(shown))


def _bars(shares: pd.Series) -> Chart:
    return charts.bars(shares, name="share")


def _by(named: pd.DataFrame) -> Table:
    return Table.of(named, "Category")


def _by_category(categories: int, what: str, most: int = charts.MOST_BARS) -> str:
    more = f", the first {most} of {categories}" if categories > most else ""
    return f"{what}, by category{more}"


def _summary(rows: pd.DataFrame, digests: dict[str, str]) -> Table:
    return Table.of(duplicates.summary(rows, digests), "Equal in what")


def _listed(table: pd.DataFrame, *, with_share: bool = False) -> pd.Series:
    """The words of each category in one string."""
    texts = table["word"]
    if with_share:
        texts = texts + " " + table["share"].map("{:.0%}".format)
    return texts.groupby(table["code"]).agg(", ".join)


def _few(rows: Sequence[int | str], count: int) -> str:
    named = ", ".join(str(row) for row in rows[:ROWS_NAMED])
    return f"{named} …" if count > ROWS_NAMED else named


def _count(number: float, one: str, many: str = "") -> str:
    return f"{figure(number, one)} {one if number == 1 else many or one + 's'}"


def _cut(title: str) -> str:
    return title if len(title) <= TITLE_CHARACTERS else f"{title[: TITLE_CHARACTERS - 1]}…"


def _address(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
