"""Properties of the readers of tables: what any program writes comes back in the same rows."""

import csv
import io
import random
from contextlib import ExitStack

import pandas as pd
import pytest
import xlsxwriter
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidInput
from shared.tables.columns import PRODUCT_NAMES
from shared.tables.form import form_kept, form_of
from shared.tables.rows import Row, rows_of
from shared.tables.unpack import unpack

HEADER = ["sku", "designation", "description"]
#: Letters that Windows-1252, Mac OS Roman and code page 850 have all.
LETTERS = "abcdefghijklmnopqrstuvwxyz ABCDEFZ0123456789éèêàçùîôüÉ,;|\t\"'\\<>&.-+=()/\n"
#: Words that make an encoding recognizable.
WORDS = "Cafetière émaillée, très élégante à côté d'été; ça brûle "


def read(content: bytes) -> list[Row]:
    with ExitStack() as files:
        stream = unpack(io.BytesIO(content), files, max_bytes=10_000_000, table="products")
        form = form_of(stream, PRODUCT_NAMES, table="products")
        return list(rows_of(stream, form_kept(stream, form.kept), PRODUCT_NAMES))


def tables(alphabet: st.SearchStrategy[str]) -> st.SearchStrategy[list[list[str]]]:
    # A row of blanks is no row, and a quote is ambiguous where a backslash precedes it.
    text = st.text(alphabet, max_size=20).map(lambda cell: cell.replace('\\"', '"'))
    row = st.tuples(text.map(lambda cell: f"s{cell}"), text, text).map(list)
    return st.lists(row, min_size=1, max_size=8)


ANY = st.characters(codec="utf-8", exclude_characters="\x00\r")


@given(
    tables(ANY),
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_csv_comes_back(
    rows: list[list[str]], delimiter: str, end: str, quoting: int, encoding: str
) -> None:
    table = io.StringIO(newline="")
    writer = csv.writer(table, delimiter=delimiter, lineterminator=end, quoting=quoting)  # type: ignore[arg-type]  # typeshed wants literals
    writer.writerows([HEADER, *rows])
    found = read(table.getvalue().encode(encoding))
    assert [row.problem for row in found] == [None] * len(rows)
    assert [list(row.values) for row in found] == rows


@given(tables(st.sampled_from(LETTERS)), st.sampled_from(["cp1252", "mac_roman", "cp850"]))
def test_csv_of_old_programs_comes_back(rows: list[list[str]], encoding: str) -> None:
    rows = [[f"{sku}{WORDS}", *others] for sku, *others in rows]
    table = io.StringIO(newline="")
    csv.writer(table, delimiter=";", lineterminator="\n").writerows([HEADER, *rows])
    assert [list(row.values) for row in read(table.getvalue().encode(encoding))] == rows


@given(tables(st.sampled_from(LETTERS)))
def test_csv_of_pandas_comes_back(rows: list[list[str]]) -> None:
    content = pd.DataFrame(rows, columns=HEADER).to_csv(index=False).encode()
    assert [list(row.values) for row in read(content)] == rows


@given(tables(st.sampled_from(LETTERS)))
def test_csv_of_php_comes_back(rows: list[list[str]]) -> None:
    """PHP's `fputcsv` writes a quote after a backslash as it is, and doubles every other."""
    rows = [['1"', "x", "y"], *([cell.replace("\\", "/") for cell in row] for row in rows)]
    lines = [",".join(HEADER)]
    lines += [",".join('"' + cell.replace('"', '\\"') + '"' for cell in row) for row in rows]
    found = read(("\n".join(lines) + "\n").encode())
    assert [list(row.values) for row in found] == rows


@given(tables(st.sampled_from(LETTERS.replace("\n", "").replace("=", ""))))
def test_workbook_comes_back(rows: list[list[str]]) -> None:
    packed = io.BytesIO()
    with xlsxwriter.Workbook(packed, {"strings_to_numbers": False}) as book:
        sheet = book.add_worksheet()
        for number, row in enumerate([HEADER, *rows]):
            for column, cell in enumerate(row):
                sheet.write_string(number, column, cell)
    assert [list(row.values) for row in read(packed.getvalue())] == rows


@pytest.mark.parametrize("seed", range(20))
def test_damaged_file_is_read_or_refused(seed: int) -> None:
    table = io.StringIO(newline="")
    generator = random.Random(seed)
    rows = [[f"s{n}", WORDS * 2, 'a "b", c\nd'] for n in range(30)]
    csv.writer(table).writerows([HEADER, *rows])
    content = bytearray(table.getvalue().encode())
    for _ in range(generator.randrange(1, 40)):
        content[generator.randrange(len(content))] = generator.randrange(256)
    try:
        found = read(bytes(content))
    except InvalidInput:
        return
    assert [row.number for row in found] == list(range(1, len(found) + 1))
    # A damaged quote or line end divides or joins rows next to it and no others.
    assert len(rows) * 0.5 < len(found) < len(rows) * 4
