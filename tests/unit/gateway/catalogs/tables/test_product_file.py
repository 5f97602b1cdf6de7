"""Product files as shops export them; one malformed row never stops the others."""

import contextlib
import csv
import io
import json
import tracemalloc
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.catalogs.tables.product_file import Row, rows_of
from gateway.catalogs.tables.row_lines import MAX_ROW_BYTES, READ_AGAIN
from gateway.catalogs.tables.table_format import MAX_COLUMNS, form_of
from shared.errors import InvalidInput


def read(content: bytes) -> list[Row]:
    stream = io.BytesIO(content)
    return list(rows_of(stream, form_of(stream)))


def titles(content: bytes) -> list[str | None]:
    """Return the title of each row; `None` where it is rejected."""
    return [None if row.problem else row.designation for row in read(content)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_every_kind_of_csv_is_read(delimiter: str, end: str, mark: bytes) -> None:
    table = f"ref{delimiter}designation{delimiter}description{end}"
    table += f'1{delimiter}"Table, basse; en | bois"{delimiter}"deux\nlignes"{end}'
    [row] = read(mark + table.encode())
    assert (row.designation, row.description) == ("Table, basse; en | bois", "deux\nlignes")
    assert row.cells["ref"] == "1"


def test_challenge_columns_name_the_image() -> None:
    [row] = read(b"designation,description,productid,imageid\nA,,12,34\n")
    assert row.image == "image_34_product_12.jpg"
    [row] = read(b"designation,productid,imageid\nA,12,\n")
    assert row.image == ""


def test_header_may_have_capitals_and_spaces() -> None:
    [row] = read(b" Designation ; IMAGE\nA; a.jpg \n")
    assert (row.designation, row.image) == ("A", "a.jpg")
    assert list(row.cells) == [" Designation ", " IMAGE"]


def test_latin_1_rows_are_decoded_among_utf_8_rows() -> None:
    assert titles("designation\ncafé\n".encode() + "thé vert\n".encode("latin-1")) == [
        "café",
        "thé vert",
    ]


def test_empty_lines_are_not_rows_but_count_as_lines() -> None:
    rows = read(b"designation,description\n\nA,\n,\n\nB,\n")
    assert [(row.number, row.line, row.designation) for row in rows] == [(1, 3, "A"), (2, 6, "B")]


@pytest.mark.parametrize(("line", "received"), [(b"A,x,y", 3), (b"A", 1)])
def test_row_with_a_wrong_number_of_cells_is_rejected(line: bytes, received: int) -> None:
    rows = read(b"designation,description\nfirst,\n" + line + b"\nlast,\n")
    assert [row.designation for row in rows if not row.problem] == ["first", "last"]
    assert rows[1].problem
    assert rows[1].problem.reason == f"Expected 2 cells. Received: {received}"
    assert rows[1].cells["designation"] == "A"


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
    # Once as the beginning of a row, once for the report, and READ_AGAIN times
    assert lines_read < (READ_AGAIN + 3) * 5_000


def test_invalid_csv_row_is_rejected_with_the_reason() -> None:
    rows = read(b"designation,description\nA,\nB\rC,\nD,\n")
    assert [row.designation for row in rows if not row.problem] == ["A", "D"]
    assert rows[1].problem
    assert "new-line character" in rows[1].problem.reason


def test_only_the_partly_valid_csv_line_is_rejected() -> None:
    rows = read(b'designation,description,note\nA,,\n\t"a,"b\rc"\nB,,\n')
    assert [row.designation for row in rows if not row.problem] == ["A", "B"]
    assert [row.number for row in rows if row.problem] == [2]


def test_only_deeply_nested_json_is_rejected() -> None:
    def nested(depth: int) -> bytes:
        return b'{"designation": "B", "note": ' + b"[" * depth + b"]" * depth + b"}\n"

    # Some of these can be parsed but not serialised, which needs a few more stack frames.
    rows = b"".join(nested(depth) for depth in range(800, 1_010))
    found = titles(b'{"designation": "A"}\n' + rows + b'{"designation": "C"}\n')
    assert [*dict.fromkeys(found)] == ["A", "B", None, "C"]
    for depth in range(800, 1_010):
        with contextlib.suppress(InvalidInput):
            form_of(io.BytesIO(nested(depth)))


def test_lone_surrogates_in_json_are_replaced() -> None:
    line = rb'{"designation": "a\ud800b", "k\udfff": ["\udc00"], "pair": "\ud83d\ude00"}'
    [row] = read(line + b"\n")
    assert row.designation == "a�b"
    assert row.cells == {"designation": "a�b", "k�": '["�"]', "pair": "😀"}
    assert form_of(io.BytesIO(line)).columns == ("designation", "k�", "pair")


def test_memory_does_not_grow_with_the_file() -> None:
    class Endless(io.RawIOBase):
        left = 100_000

        def readline(self, size: int | None = -1) -> bytes:
            self.left -= 1
            return b"a title of some length,and a description\n" if self.left >= 0 else b""

        def seek(self, offset: int, whence: int = 0) -> int:
            return 0

    form = form_of(io.BytesIO(b"designation,description\n"))
    tracemalloc.start()
    count = sum(1 for _ in rows_of(cast(BinaryIO, Endless()), form))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 100_000 - 1
    assert peak < MAX_ROW_BYTES


def test_json_lines_are_read() -> None:
    lines = b'{"designation": "A", "price": 3.5, "tags": ["x"], "description": null}\n'
    rows = read(lines + b'\n{"designation": "B"}\nbroken\n[1]\n{"designation": "C"}\n')
    assert [row.designation for row in rows if not row.problem] == ["A", "B", "C"]
    assert rows[0].cells == {
        "designation": "A",
        "price": "3.5",
        "tags": '["x"]',
        "description": "",
    }
    assert [row.number for row in rows if row.problem] == [3, 4]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "a header"),
        (b"\n\n", "a header"),
        (b"foo,bar\n1,2\n", "a column `designation`"),
        (b"designation,Designation\n1,2\n", "the column `designation` once"),
        ("designation\nA\n".encode("utf-16"), "UTF-8 or Latin-1"),
        (b"PK\x03\x04" + bytes(100), "a CSV file or JSON Lines"),
        (b"designation\x00\n", "a CSV file or JSON Lines"),
        (b"x" * (MAX_ROW_BYTES + 10), "a header"),
        (b"{broken\n", "a JSON object"),
        (b'{"foo": 1}\n', "a column `designation`"),
    ],
)
def test_file_that_is_not_a_catalog_is_refused(content: bytes, expected: str) -> None:
    with pytest.raises(InvalidInput, match=f"Expected {expected}") as raised:
        form_of(io.BytesIO(content))
    assert raised.value.field[0] == "products"


@pytest.mark.parametrize("delimiter", [b",", b"\t"])
def test_table_has_at_most_a_thousand_columns(delimiter: bytes) -> None:
    header = b"designation" + delimiter * (MAX_COLUMNS - 1)
    assert len(form_of(io.BytesIO(header + b"\n")).columns) == MAX_COLUMNS
    with pytest.raises(InvalidInput, match="at most 1000 columns"):
        form_of(io.BytesIO(header + delimiter + b"\n"))


def test_first_json_object_has_at_most_a_thousand_keys() -> None:
    keys = {"designation": "A", **{f"k{n}": n for n in range(MAX_COLUMNS)}}
    with pytest.raises(InvalidInput, match="at most 1000 columns"):
        form_of(io.BytesIO(json.dumps(keys).encode()))


def _cells() -> st.SearchStrategy[list[tuple[str, str]]]:
    text = st.text(st.characters(codec="utf-8", exclude_characters="\x00"))
    return st.lists(st.tuples(text.map(lambda title: f"t{title}"), text), min_size=1, max_size=8)


@given(_cells())
def test_written_csv_reads_back_unchanged(rows: list[tuple[str, str]]) -> None:
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(["designation", "description"])
    writer.writerows(rows)
    found: Iterator[Row] = iter(read(table.getvalue().encode()))
    assert [(row.designation, row.description) for row in found] == rows
