"""Texts of requests: only those that every database can store are accepted."""

from typing import Any

from pydantic import BaseModel, model_validator
from starlette.datastructures import FormData

from shared.errors import InvalidInput

#: Names of UTF-8, of which ASCII is a part.
UTF_8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
#: The field in which a form may name its charset (HTML Living Standard, "Naming form controls").
CHARSET_FIELD = "_charset_"
UNSTORABLE = "Expected text without NUL and lone surrogates. Received: one of them"


class StorableBody(BaseModel):
    """A request body without NUL and lone surrogates, both of which JSON can escape."""

    @model_validator(mode="before")
    @classmethod
    def _has_storable_texts(cls, content: Any) -> Any:
        left = [content]
        while left:
            value = left.pop()
            if isinstance(value, dict):
                left += [*value.keys(), *value.values()]
            elif isinstance(value, list):
                left += value
            elif isinstance(value, str) and not is_storable(value):
                raise ValueError(UNSTORABLE)
        return content


def is_storable(text: str) -> bool:
    """Return False for texts with NUL or a lone surrogate, which PostgreSQL cannot store."""
    if "\x00" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def require_storable(form: FormData) -> None:
    """Check the texts of a form: its names, its values and the names of its files.

    Raises:
        InvalidInput: One cannot be stored, or the form names a charset other than UTF-8.
    """
    for name, value in form.multi_items():
        text = value if isinstance(value, str) else value.filename or ""
        if not is_storable(name):
            raise InvalidInput(UNSTORABLE)
        if not is_storable(text):
            raise InvalidInput(UNSTORABLE, field=(name,))
        if name == CHARSET_FIELD:
            require_utf_8(text)


def require_utf_8(charset: str) -> None:
    """Raise `InvalidInput` for a charset other than UTF-8."""
    if charset.strip().lower() not in UTF_8:
        raise InvalidInput(f"Expected the charset UTF-8. Received: {charset[:40]!a}")
