"""Tests of what counts as text: that which a person reads of a field."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.readable import readable


@pytest.mark.parametrize(
    "raw",
    [
        "",
        " \n\t",
        "<p><br></p>",
        "&nbsp;",
        "<p>&nbsp;</p>",
        "\u200b\u200b",
        "\ufeff",
        "<!-- -->",
        "&lt;p&gt;&amp;nbsp;&lt;/p&gt;",
        "nan",
        "NaN",
        "NULL",
        "None",
        " n/a ",
        "#N/A",
        "???",
        "--",
        "...",
        "<style>.a{color:red}</style>",
        "<script>var x = 1",
        '<img src="data:image/png;base64,AAAA">',
        "data:image/png;base64,AAAA",
        "[]",
    ],
)
def test_nothing_to_read(raw: str) -> None:
    assert readable(raw) == ""


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Chaise", "Chaise"),
        ("7", "7"),
        ("日本", "日本"),
        ("Nan Goldin", "Nan Goldin"),
        ("3 < 5 et 7 > 2", "3 < 5 et 7 > 2"),
        ("L&amp;#39;été", "L'été"),
        ("Con&shy;sole vi\u00addéo por\u200btable", "Console vidéo portable"),
        ("<p>Lampe</p>", " Lampe "),
        (f'<p title="{"x" * 5_000}">Lampe</p>', " Lampe "),
        ("<STYLE>a{}</STYLE>Lampe", " Lampe"),
        ("<style>a{}</style >Lampe<script>b</script>", " Lampe "),
        ("<!--[if gte mso 9]><xml>x</xml><![endif]-->Lampe", " Lampe"),
        ("data: 12 pages", "data: 12 pages"),
        ("Lampe data:image/png;base64,AAA= rouge", "Lampe   rouge"),
    ],
)
def test_text_is_kept(raw: str, expected: str) -> None:
    assert readable(raw) == expected


@given(st.text(st.sampled_from("ab<>&;!-/ \u00ad\u200bé'\"=,:")))
def test_text_never_grows_and_has_nothing_invisible(raw: str) -> None:
    found = readable(raw)
    assert len(found) <= len(raw) + 1
    assert not {*"\u00ad\u200b"} & {*found}
