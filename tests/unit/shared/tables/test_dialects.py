"""Dialects of CSV: what spreadsheets, shops and scripts write comes back as the same rows."""

import io

import pytest

from shared.errors import InvalidInput
from shared.tables.columns import PRODUCT_NAMES
from shared.tables.form import Form, form_kept, form_of
from shared.tables.rows import rows_of


def form(content: bytes) -> Form:
    return form_of(io.BytesIO(content), PRODUCT_NAMES, table="products")


def cells(content: bytes) -> list[list[str]]:
    stream = io.BytesIO(content)
    found = form_kept(stream, form(content).kept)
    rows = list(rows_of(stream, found, PRODUCT_NAMES))
    assert not [row.problem for row in rows if row.problem]
    return [list(row.values) for row in rows]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(
            'sku,titre,texte\n1,"Ecran 24\\"","mat, noir"\n2,"Table \\"Oslo\\", chêne",bois\n',
            [["1", 'Ecran 24"', "mat, noir"], ["2", 'Table "Oslo", chêne', "bois"]],
            id="backslash before quotes",
        ),
        pytest.param(
            'titre\n"Ecran 24\\""\n"Ballon, rond"\n"Console"\n',
            [['Ecran 24"'], ["Ballon, rond"], ["Console"]],
            id="backslash before quotes in the only column",
        ),
        pytest.param(
            'sku,titre\n1,"C:\\temp"\n2,"a\\\\"\n',
            [["1", "C:\\temp"], ["2", "a\\\\"]],
            id="backslashes that escape nothing",
        ),
        pytest.param(
            'sku, titre\n1, "Ballon, rouge"\n2, "Piscine"\n',
            [["1", "Ballon, rouge"], ["2", "Piscine"]],
            id="spaces before quotes",
        ),
        pytest.param(
            "sep=;\ntitre;texte\nA;a, b\n", [["A", "a, b"]], id="delimiter stated for Excel"
        ),
        pytest.param("\n;;\ntitre;texte;ref\nA;a;1\n", [["A", "a", "1"]], id="blank lines first"),
        pytest.param("titre;texte\nA;a;\nB;b;;\n", [["A", "a"], ["B", "b"]], id="longer rows"),
        pytest.param(
            "titre;texte;\nA;a\nB;b\n", [["A", "a", ""], ["B", "b", ""]], id="longer header"
        ),
        pytest.param(
            "titre,texte,image\nA\nB,b\n", [["A", "", ""], ["B", "b", ""]], id="short rows"
        ),
        pytest.param(
            "titre\nBallon, rouge\nPiscine; ronde\n",
            [["Ballon, rouge"], ["Piscine; ronde"]],
            id="one column",
        ),
        pytest.param(
            '"titre,texte"\n"A,""a, b"""\nB\n',
            [["A", "a, b"], ["B", ""]],
            id="each line is one quoted cell",
        ),
        pytest.param("titre;texte\rA;a\rB;b\r", [["A", "a"], ["B", "b"]], id="ends of old Macs"),
        pytest.param(
            "titre;texte\r\nA;a\rB;b\nC;c\r\n",
            [["A", "a"], ["B", "b"], ["C", "c"]],
            id="mixed ends",
        ),
        pytest.param(
            '"titre\n(du produit)",texte\nA,a\n', [["A", "a"]], id="line break in the header"
        ),
        pytest.param("titre;texte\nA;a\n ; \n\u00a0;\n", [["A", "a"]], id="blank rows"),
        pytest.param(
            'titre,texte\n"12"" écran" mat,a\n', [['12" écran mat', "a"]], id="text after a quote"
        ),
        pytest.param(
            'titre,texte,ref\n"A\nB"\nC,c,1\n',
            [["A\nB", "", ""], ["C", "c", "1"]],
            id="short row over two lines",
        ),
    ],
)
def test_dialect_is_read(content: str, expected: list[list[str]]) -> None:
    assert cells(content.encode()) == expected


def test_header_with_escaped_quotes_is_read_as_its_rows_are() -> None:
    content = b'titre,"12\\" note, x"\nA,"b\\"c"\n'
    found = form(content)
    assert found.columns == ("titre", '12" note, x')
    assert cells(content) == [["A", 'b"c']]


def test_header_whose_line_has_another_end_is_read_as_its_rows_are() -> None:
    content = b"titre;texte\rA;a\nB;b\r\n"
    assert form(content).skipped == 1
    assert cells(content) == [["A", "a"], ["B", "b"]]


def test_row_of_two_lines_that_swallowed_another_is_rejected_alone() -> None:
    content = b'titre,texte\n1,"Table\n2,"Chaise, bois\n3,c\n'
    stream = io.BytesIO(content)
    rows = list(rows_of(stream, form(content), PRODUCT_NAMES))
    assert [row.get("designation") for row in rows if not row.problem] == ["3"]
    assert [(row.number, row.line) for row in rows if row.problem] == [(1, 2), (2, 3)]


def test_ambiguous_delimiter_is_refused() -> None:
    with pytest.raises(InvalidInput, match="one delimiter between the cells") as raised:
        form(b"titre,x;description\nA,b;c\nB,c;d\n")
    assert "sep=;" in raised.value.detail


def test_stated_delimiter_settles_the_ambiguity() -> None:
    assert cells(b"sep=;\ntitre,x;description\nA,b;c\n") == [["A,b", "c"]]


@pytest.mark.parametrize(
    ("content", "received"),
    [(b"", "an empty file"), (b"\n \n;;\n", "only empty lines"), (b"{broken\n", "Expecting")],
)
def test_file_without_a_table_is_refused(content: bytes, received: str) -> None:
    with pytest.raises(InvalidInput, match=received) as raised:
        form(content)
    assert raised.value.field == ("products",)


def test_header_of_more_than_a_mebibyte_is_refused() -> None:
    with pytest.raises(InvalidInput, match="a line of more than 1 MiB"):
        form(b"x" * (1024 * 1024 + 10))


def test_header_that_begins_with_a_delimiter_has_more_than_one_column() -> None:
    found = form(b",titre\n7,a\n8,b,surplus\n9,c\n")
    assert found.columns == ("", "titre")
