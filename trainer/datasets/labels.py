"""Reads the labels of a column: codes, texts, or paths in a tree.

A column whose cells are mostly whole numbers has codes; any other has texts. The code of a text is
derived from the text alone, so it is the same in every version of a dataset, in every release and
on every machine. The names of a version are stored with their codes and are looked up first, so
that a code never changes; see decision 0021.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from shared.categories import (
    ARROW,
    FIRST_MADE_CODE,
    CategorySet,
    label_key,
    label_text,
    path_of,
)
from trainer.datasets.findings import Finding, error, warning

#: Integers that fit the database, also in the spreadsheet form `10.0`.
_WHOLE = r"\s*[+-]?\d{1,9}(?:\.0*)?\s*"
#: Share of whole numbers from which on a column has codes.
_CODES_SHARE = 0.5
#: Number of codes that can be made.
_MADE_CODES = 1_000_000_000 - FIRST_MADE_CODE
#: Separators that names also have for other reasons (`CD/DVD`): at least half must have them.
_WEAK_SEPARATORS = ("/", "|", "\\")
#: Spellings that a finding quotes.
_QUOTED = 5


@dataclass(frozen=True)
class Labels:
    """Labels of some rows.

    Attributes:
        codes: Code of each row that has a valid label.
        names: Names by code, as far as the column has them.
        findings: Rows without a label or with an invalid one, and different spellings of a label.
    """

    codes: pd.Series
    names: dict[int, str]
    findings: tuple[Finding, ...] = ()


def read_labels(
    cells: pd.Series, known: Mapping[int, str], table: str, column: str, lines: pd.Series
) -> Labels:
    """Read the labels of a column.

    Args:
        cells: Labels as written, by row number.
        known: Names by code of earlier versions and of the table of categories.
        table: Name of the file, for messages.
        column: Name of the column, for messages.
        lines: Lines of the file by row number, for findings.
    """
    texts = {raw: label_text(raw) for raw in cells.unique()}
    is_empty = (cells.map(texts) == "").astype(bool)
    findings: list[Finding] = []
    if is_empty.any():
        text = f"Rows have no label in the column `{column}` of {table} and are left out"
        findings.append(warning("unlabelled_rows", text, cells.index[is_empty], lines))
    cells = cells[~is_empty]
    is_whole = cells.str.fullmatch(_WHOLE).astype(bool)
    read = _texts if len(cells) and is_whole.mean() < _CODES_SHARE else _codes
    found = read(cells, known, table, column, lines)
    return Labels(found.codes, found.names, (*findings, *found.findings))


def _codes(
    cells: pd.Series, known: Mapping[int, str], table: str, column: str, lines: pd.Series
) -> Labels:
    """Read codes; a text is valid if it is the name of one."""
    is_whole = cells.str.fullmatch(_WHOLE).astype(bool)
    whole = cells[is_whole].str.strip().str.replace(r"\.0*$", "", regex=True)
    codes = whole.astype("int64")
    padded = whole[whole.str.startswith("0") & (whole.str.len() > 1)]
    names = {int(written): str(written) for written in padded.unique()}
    by_key = {label_key(name): code for code, name in known.items()}
    others = cells[~is_whole].map(lambda cell: by_key.get(label_key(cell)))
    invalid = cells[others.index[others.isna()]]
    findings = []
    if len(invalid):
        row = invalid.index[0]
        text = (
            f"Expected whole numbers as `{column}` in {table}, like most of its cells. Received: "
            f"{invalid.iloc[0]!r} in line {lines[row]} (row {row}), {len(invalid)} in total"
        )
        findings.append(error("labels_not_integers", text, invalid.index, lines))
    named = others.dropna().astype("int64")
    return Labels(
        pd.concat([codes, named])
        .reindex(cells.index.difference(invalid.index, sort=False))
        .astype("int64"),
        names,
        tuple(findings),
    )


def _texts(
    cells: pd.Series, known: Mapping[int, str], table: str, column: str, lines: pd.Series
) -> Labels:
    """Read texts, and make codes for those that are not known."""
    written = cells.str.strip()
    counts = written.value_counts()
    keys = {text: label_key(text) for text in counts.index}
    by_key = {label_key(name): code for code, name in reversed([*known.items()])}
    by_key |= {str(code): code for code in known if str(code) not in by_key}
    spelled: dict[str, str] = {}
    for text in counts.index:
        # The most frequent spelling comes first.
        spelled.setdefault(keys[text], text)
    taken = {*known}
    for key in sorted({*spelled} - {*by_key}):
        by_key[key] = _made_code(key, taken)
        taken.add(by_key[key])
    codes = {text: by_key[key] for text, key in keys.items()}
    names = {by_key[key]: label_text(text) for key, text in spelled.items()}
    names |= {code: known[code] for code in names if code in known}
    shown = {text: spelled[key] for text, key in keys.items()}
    others = [
        text
        for text in counts.index
        if text != shown[text] or (not text.isdecimal() and label_text(text) != names[codes[text]])
    ]
    found = written.map(codes).astype("int64")
    if not others:
        return Labels(found, names)
    quoted = ", ".join(f"{text!r} as {names[codes[text]]!r}" for text in others[:_QUOTED])
    more = ", …" if len(others) > _QUOTED else ""
    message = (
        f"Labels in the column `{column}` of {table} that differ only in case, accents or spaces "
        f"count as one: {quoted}{more}"
    )
    rows = written.index[written.isin(others)]
    return Labels(found, names, (warning("label_spellings", message, rows, lines),))


def _made_code(key: str, taken: set[int]) -> int:
    """Return the code of a text: the next free one from a hash of the text on."""
    digest = hashlib.sha256(key.encode()).digest()
    place = int.from_bytes(digest[:8], "big") % _MADE_CODES
    while FIRST_MADE_CODE + place in taken:
        place = (place + 1) % _MADE_CODES
    return FIRST_MADE_CODE + place


def categories_of(
    codes: Iterable[int], names: Mapping[int, str], separator: str | None = None
) -> CategorySet:
    """Return the categories of some codes with their names and their places in a tree.

    Args:
        codes: Codes in the order of the set.
        names: Names by code; a code without one is its own.
        separator: Separator of paths; `None` to detect it from the names.
    """
    pairs = [(code, names.get(code, str(code))) for code in codes]
    if separator is None:
        separator = separator_of(name for _, name in pairs)
    return CategorySet.of(pairs, separator)


def names_beside(codes: pd.Series, texts: pd.Series) -> dict[int, str]:
    """Return the names that a second column has for codes; empty if it does not name them.

    Args:
        codes: Code by row.
        texts: Texts of another column by row, which may be about something else.
    """
    shown = texts.map({raw: label_text(raw) for raw in texts.unique()})
    pairs = pd.DataFrame({"code": codes, "name": shown, "key": shown.map(label_key)})
    pairs = pairs[pairs["name"] != ""].drop_duplicates(["code", "key"])
    if pairs["code"].duplicated().any() or pairs["key"].duplicated().any():
        return {}
    return {int(code): str(name) for code, name in zip(pairs["code"], pairs["name"], strict=True)}


def separator_of(names: Iterable[str]) -> str:
    """Return the character that separates the parts of the names; empty if they are not paths.

    Names are paths in a tree if those with the separator share their first parts: at least half of
    them with another name. Characters that names also have for other reasons, such as the slash of
    `CD/DVD`, must also be in at least half of all names.
    """
    distinct = sorted({*names})
    for separator in (ARROW, *_WEAK_SEPARATORS):
        paths = [path_of(name, separator) for name in distinct]
        roots = Counter(label_key(path[0]) for path in paths if path)
        longer = [path for path in paths if len(path) > 1]
        shared = sum(roots[label_key(path[0])] > 1 for path in longer)
        least = len(distinct) / 2 if separator != ARROW else 1
        if len(longer) >= max(least, 1) and shared >= len(longer) / 2:
            return separator
    return ""
