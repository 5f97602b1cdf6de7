"""Encodings of tables."""

import io

import pytest

from shared.tables.columns import PRODUCT_NAMES
from shared.tables.encoding import decoded, legacy_encoding
from shared.tables.form import form_of
from shared.tables.rows import rows_of

TITLES = (
    "Cafetière émaillée à poser",
    "Théière rétro, très élégante",
    "Modèle d'été pour fenêtre",
    "Ça brille, même où il gèle",
)


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "mac_roman", "cp850"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_letters_of_each_encoding_come_back(encoding: str, end: str) -> None:
    content = end.join(["titre;prix", *(f"{title};12,5" for title in TITLES), ""]).encode(encoding)
    stream = io.BytesIO(content)
    form = form_of(stream, PRODUCT_NAMES, table="products")
    rows = rows_of(stream, form, PRODUCT_NAMES)
    assert [row.get("designation") for row in rows] == [*TITLES]
    assert form.needs_bom == (encoding != "utf-8")


def test_only_the_invalid_byte_of_a_line_is_lost() -> None:
    assert decoded("Cafetière très cafeti".encode() + b"\xc3") == "Cafetière très cafeti\ufffd"


def test_rows_that_another_program_appended_are_decoded() -> None:
    lines = ["café\n".encode(), "thé vert\n".encode("latin-1")]
    assert [decoded(line, legacy_encoding(lines)) for line in lines] == ["café\n", "thé vert\n"]


def test_encoding_of_plain_text_is_not_guessed() -> None:
    assert legacy_encoding([b"abc", "é".encode(), "è".encode() + b"\xc3"]) is None
