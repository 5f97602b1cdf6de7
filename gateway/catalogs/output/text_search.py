"""Search in titles and descriptions; neither case nor accents matter."""

import re
import unicodedata

from sqlalchemy import ColumnElement, and_, or_

from shared.db.models import Job

#: Longest search, in characters, and most words of it; each word is one more scan.
LONGEST, MOST_WORDS = 200, 5
#: Letters that are the same with another accent. Letters of the two alphabets are never mixed up.
_ACCENTED = {
    "a": "àáâãäå",
    "c": "ç",
    "e": "èéêë",
    "i": "ìíîï",
    "n": "ñ",
    "o": "òóôõö",
    "u": "ùúûü",
    "y": "ýÿ",
}


def contains(text: str, dialect: str) -> ColumnElement[bool]:
    """Return the condition that title and description contain each word of a text.

    Args:
        text: Words, of which the first `MOST_WORDS` count.
        dialect: Name of the database, `sqlite` or `postgresql`.
    """
    words = text[:LONGEST].split()[:MOST_WORDS]
    return and_(*(_word(word, dialect) for word in words))


def _word(word: str, dialect: str) -> ColumnElement[bool]:
    pattern = f"(?i){''.join(map(_class, word))}"
    columns = (Job.designation, Job.description)
    found = or_(*(column.regexp_match(pattern) for column in columns))
    if dialect != "sqlite":
        return found
    # SQLite calls Python for each text that its own, quicker `LIKE` lets through.
    rough = "".join(map(_rough, word))
    return and_(or_(*(column.like(f"%{rough}%", escape="\\") for column in columns)), found)


def _base(character: str) -> str:
    """Return a letter without accent and in lower case."""
    return unicodedata.normalize("NFKD", character)[0].lower()


def _class(character: str) -> str:
    """Return the regular expression of a character: itself, with any accent."""
    accented = _ACCENTED.get(_base(character))
    if accented is None:
        return re.escape(character)
    return f"[{_base(character)}{accented}{accented.upper()}]"


def _rough(character: str) -> str:
    """Return the pattern of `LIKE`, which ignores the case of ASCII letters only."""
    if _base(character) in _ACCENTED or not character.isascii():
        return "_"
    return f"\\{character}" if character in "%_\\" else character
