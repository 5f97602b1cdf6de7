import time

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from shared.inference.preparation.text import PADDING, UNKNOWN, TextEncoder, clean, product_text


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Chaise  de\n jardin", "chaise de jardin"),
        ("L&#39;&amp;eacute;t&eacute;", "l'été"),
        ("<p class='x'>Robuste<br />et beau</p>", "robuste et beau"),
        ("CafÃ© crÃ¨me", "café crème"),
        ("3 < 5 et 7 > 2", "3 < 5 et 7 > 2"),
        ("<style>a{color:red}</style><p>Lampe</p>", "lampe"),
        ("Con\u00adsole", "console"),
        ("NULL", ""),
        ("x" * 10_000, "x" * 4_000),
        (f'<img src="data:image/png;base64,{"A" * 60_000}">Lampe', "lampe"),
        ("", ""),
    ],
)
def test_text_is_cleaned(raw: str, expected: str) -> None:
    assert clean(raw) == expected


def test_correct_french_is_left_alone() -> None:
    assert clean("Âge mûr, château, façade œuvre") == "âge mûr, château, façade œuvre"


def test_title_that_begins_the_description_is_said_once() -> None:
    assert product_text("Piscine ronde", "PISCINE RONDE 3 m") == "piscine ronde 3 m"
    assert product_text("Piscine", "Ronde") == "piscine ronde"
    assert product_text("Piscine", "") == "piscine"
    assert product_text("", "Ronde") == "ronde"


@pytest.mark.parametrize(
    "text",
    [
        "<" * 100_000,
        "<a " * 50_000,
        "&" * 100_000,
        "Ã" * 100_000,
        "<!--" * 50_000,
        "<style>" * 50_000,
        "data:a/b;c" * 50_000,
    ],
)
def test_hostile_text_takes_no_time(text: str) -> None:
    started = time.perf_counter()
    product_text(text, text)
    assert time.perf_counter() - started < 1


@pytest.fixture
def encoder() -> TextEncoder:
    vocabulary = {"<pad>": PADDING, "<unk>": UNKNOWN, "chaise": 2, "rouge": 3}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return TextEncoder(tokenizer, max_tokens=3)


def test_texts_are_padded_to_the_longest_and_cut(encoder: TextEncoder) -> None:
    tokens = encoder.encode(["chaise", "chaise rouge", "rouge rouge rouge rouge rouge"])
    assert tokens.dtype == "int32"
    assert tokens.tolist() == [[2, 0, 0], [2, 3, 0], [3, 3, 3]]


def test_text_without_a_word_has_one_unknown_token(encoder: TextEncoder) -> None:
    assert encoder.encode([""]).tolist() == [[UNKNOWN]]
    assert encoder.encode(["", "chaise rouge"]).tolist() == [[UNKNOWN, 0], [2, 3]]
