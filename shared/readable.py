"""Text of a field as a person reads it: no markup, no invisible characters, no placeholders."""

import html
import re

#: Values that databases, spreadsheets and pandas write for an empty cell.
PLACEHOLDERS = frozenset(
    (
        *(
            "nan",
            "null",
            "(null)",
            "<null>",
            "none",
            "nil",
            "undefined",
            "<na>",
            "na",
            "n/a",
            "#n/a",
        ),
        *("n.a", "n.a.", "nd", "n/d", "n.d.", "nc", "n/c", "n.c.", "vide", "(vide)", "néant"),
        *("empty", "(empty)", "#ref!", "#value!", "#valeur!", "#name?", "#nom?"),
    )
)
#: Longest placeholder; longer texts are not compared.
_PLACEHOLDER_CHARACTERS = max(map(len, PLACEHOLDERS))
#: Shops escape twice, `&amp;eacute;`, and some of their tools once more.
_MAX_ESCAPES = 4
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
#: Elements whose content no browser shows; an element that is not closed lasts to the end.
_UNSEEN = re.compile(
    r"<(style|script|template|noscript|head)\b[^<>]*>.*?(?:</\1\s*>|\Z)", re.DOTALL | re.IGNORECASE
)
_TAG = re.compile(r"<[a-zA-Z/!?][^<>]*>")
_DATA_ADDRESS = re.compile(r"data:\w+/[\w.+-]+(?:;[\w=-]+)*,[^\s\"'<>)]*")
#: Soft hyphens, zero-width characters, marks of direction and byte order marks.
_INVISIBLE = re.compile("[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")


def readable(raw: str) -> str:
    """Return a text without entities, markup, addresses of data and invisible characters.

    The result is empty if nothing remains that has a letter or a digit, or only a placeholder such
    as `NULL`. The time is linear in the length of the text.
    """
    text = _unescaped(raw) if "&" in raw else raw
    if "<" in text:
        text = _COMMENT.sub(" ", text)
        text = _TAG.sub(" ", _UNSEEN.sub(" ", text))
    if "data:" in text:
        text = _DATA_ADDRESS.sub(" ", text)
    if not text.isascii():
        text = _INVISIBLE.sub("", text)
    return text if has_words(text) else ""


def has_words(text: str) -> bool:
    """Return True if a text has a letter or a digit and is no placeholder."""
    if not any(map(str.isalnum, text)):
        return False
    stripped = text.strip()
    return len(stripped) > _PLACEHOLDER_CHARACTERS or stripped.casefold() not in PLACEHOLDERS


def _unescaped(text: str) -> str:
    for _ in range(_MAX_ESCAPES):
        plain = html.unescape(text)
        if plain == text:
            break
        text = plain
    return text
