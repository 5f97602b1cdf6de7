"""Rows of tables; one malformed row never stops the others."""

import contextlib
import csv
import io
import json
import tracemalloc
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, cast

import pytest

from shared.errors import InvalidInput
from shared.tables.columns import PRODUCT_NAMES
from shared.tables.form import MAX_COLUMNS, Form, form_of
from shared.tables.lines import MAX_ROW_BYTES, READ_AGAIN
from shared.tables.rows import Row, rows_of


def form(content: bytes) -> Form:
    return form_of(io.BytesIO(content), PRODUCT_NAMES, table="products")


def read(content: bytes) -> list[Row]:
    return list(rows_of(io.BytesIO(content), form(content), PRODUCT_NAMES))


def cells(content: bytes) -> list[list[str]]:
    return [list(row.values) for row in read(content)]


def titles(content: bytes) -> list[str | None]:
    """Return the title of each row; `None` where it is rejected."""
    return [None if row.problem else row.get("designation") for row in read(content)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_every_kind_of_csv_is_read(delimiter: str, end: str, mark: bytes) -> None:
    table = f"ref{delimiter}designation{delimiter}description{end}"
    table += f'1{delimiter}"Table, basse; en | bois"{delimiter}"deux\nlignes"{end}'
    [row] = read(mark + table.encode())
    assert (row.get("designation"), row.get("description")) == (
        "Table, basse; en | bois",
        "deux\nlignes",
    )
    assert row.values[0] == "1"


def test_latin_1_rows_are_decoded_among_utf_8_rows() -> None:
    assert titles("designation\ncafé\n".encode() + "thé vert\n".encode("latin-1")) == [
        "café",
        "thé vert",
    ]


def test_empty_lines_are_not_rows_but_count_as_lines() -> None:
    rows = read(b"designation,description\n\nA,\n,\n\nB,\n")
    assert [(row.number, row.line, row.get("designation")) for row in rows] == [
        (1, 3, "A"),
        (2, 6, "B"),
    ]


def test_row_with_more_cells_than_columns_is_rejected() -> None:
    rows = read(b"designation,description\nfirst,\nA,x,y\nlast,\n")
    assert [row.get("designation") for row in rows if not row.problem] == ["first", "last"]
    assert rows[1].problem
    assert rows[1].problem.reason == "Expected 2 cells. Received: 3"
    assert rows[1].values == ["A", "x"]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (b'A,"open\nB,x\nD,y\n', [None, "B", "D"]),
        (b'A,"open\nB,x\nC,"x",z\nD,y\n', [None, "B", None, "D"]),
    ],
)
def test_unclosed_quote_rejects_one_row(rows: bytes, expected: list[str | None]) -> None:
    assert titles(b"designation,description\n" + rows) == expected


@pytest.mark.parametrize(
    "inside",
    [
        pytest.param(b"x" * 10_000_000, id="one line"),
        pytest.param(b'"' + (b"x" * 99 + b"\n") * 100_000 + b'"', id="many lines"),
    ],
)
def test_only_the_row_of_ten_megabytes_is_rejected(inside: bytes) -> None:
    found = titles(b"designation,description\nA,\nB," + inside + b"\nC,\n")
    assert found[:2] == ["A", None]
    assert found[-1] == "C"


def test_repeated_reading_is_bounded_where_every_line_opens_a_quote(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines_read = 0
    original = csv.reader

    def counting(lines: Iterable[str], **options: Any) -> Any:
        def counted() -> Iterator[str]:
            nonlocal lines_read
            for line in lines:
                lines_read += 1
                yield line

        return original(counted(), **options)

    monkeypatch.setattr(csv, "reader", counting)
    # An open quote stays open in the next line, and that line on its own opens another one.
    found = titles(b"designation,description\n" + b'x","y\n' * 5_000 + b"B,\n")
    assert found == [None] * 5_000 + ["B"]
    # As the beginning of a row strictly and tolerantly, for the report, by the detection of the
    # dialect, and READ_AGAIN times
    assert lines_read < (READ_AGAIN + 5) * 5_000


def test_only_deeply_nested_json_is_rejected() -> None:
    def nested(depth: int) -> bytes:
        return b'{"designation": "B", "note": ' + b"[" * depth + b"]" * depth + b"}\n"

    # Some of these can be parsed but not serialised, which needs a few more stack frames.
    rows = b"".join(nested(depth) for depth in range(300, 1_010))
    found = titles(b'{"designation": "A"}\n' + rows + b'{"designation": "C"}\n')
    assert [*dict.fromkeys(found)] == ["A", "B", None, "C"]
    for depth in range(300, 1_010):
        with contextlib.suppress(InvalidInput):
            form(nested(depth))


def test_lone_surrogates_and_nul_in_json_are_replaced() -> None:
    line = (
        rb'{"designation": "a\ud800b", "k\udfff": ["\udc00"], "pair": "\ud83d\ude00", "n": "\u0000"'
    )
    line += b"}"
    [row] = read(line + b"\n")
    assert row.get("designation") == "a\ufffdb"
    assert row.object == {
        "designation": "a\ufffdb",
        "k\ufffd": ["\ufffd"],
        "pair": "😀",
        "n": "\ufffd",
    }
    assert form(line).columns == ("designation", "k\ufffd", "pair", "n")


def test_memory_does_not_grow_with_the_file() -> None:
    class Endless(io.RawIOBase):
        left = 100_000

        def readline(self, size: int | None = -1) -> bytes:
            self.left -= 1
            return b"a title of some length,and a description\n" if self.left >= 0 else b""

        def seek(self, offset: int, whence: int = 0) -> int:
            return 0

    found = form(b"designation,description\n")
    tracemalloc.start()
    count = sum(1 for _ in rows_of(cast(BinaryIO, Endless()), found, PRODUCT_NAMES))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 100_000 - 1
    assert peak < MAX_ROW_BYTES


def test_json_lines_keep_their_values() -> None:
    lines = b'{"designation": "A", "price": 3.50, "tags": ["x"], "description": null}\n'
    rows = read(lines + b'\n{"designation": "B"}\nbroken\n[1]\n{"designation": "C"}\n')
    assert [row.get("designation") for row in rows if not row.problem] == ["A", "B", "C"]
    assert rows[0].object == {
        "designation": "A",
        "price": 3.5,
        "tags": ["x"],
        "description": None,
    }
    assert rows[0].values == ["A", "3.5", '["x"]', ""]
    assert [row.number for row in rows if row.problem] == [3, 4]


def test_numbers_that_json_cannot_write_are_no_numbers() -> None:
    [row] = read(b'{"designation": NaN, "a": Infinity, "b": 1e999, "c": 1E5}\n')
    assert row.object == {"designation": None, "a": None, "b": "1e999", "c": 100000.0}
    assert row.get("designation") == ""


def test_comma_after_a_json_object_is_ignored() -> None:
    assert titles(b'{"designation": "A"},\n{"designation": "B"},\n') == ["A", "B"]


def test_first_object_need_not_have_a_title() -> None:
    assert titles(b'{"sku": 1}\n{"sku": 2, "title": "B"}\n') == ["", "B"]


@pytest.mark.parametrize("delimiter", [b",", b"\t"])
def test_table_has_at_most_a_thousand_columns(delimiter: bytes) -> None:
    header = b"designation" + delimiter * (MAX_COLUMNS - 1)
    assert len(form(header + b"\n").columns) == MAX_COLUMNS
    with pytest.raises(InvalidInput, match="at most 1000 columns"):
        form(header + delimiter + b"\n")


def test_first_json_object_has_at_most_a_thousand_keys() -> None:
    keys = {"designation": "A", **{f"k{n}": n for n in range(MAX_COLUMNS)}}
    with pytest.raises(InvalidInput, match="at most 1000 columns"):
        form(json.dumps(keys).encode())
