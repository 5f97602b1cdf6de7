"""Fields of a request: unknown, repeated and misplaced ones are refused by name."""

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from fastapi.exceptions import RequestValidationError

from shared.errors import InvalidInput
from shared.tables.columns import PRODUCT_NAMES, normalized

#: Characters of a name that an error repeats.
SHOWN_CHARACTERS = 80
#: Smallest similarity of names that counts as a misspelling, from 0 to 1.
_SIMILARITY = 0.7


def require_known(sent: Iterable[str], known: Sequence[str]) -> None:
    """Refuse unknown fields of a body, so that a misspelt one is not ignored.

    Raises:
        RequestValidationError: Names each unknown field.
    """
    unknown = [name for name in dict.fromkeys(sent) if name not in known]
    if unknown:
        raise RequestValidationError([_unknown(name, known) for name in unknown])


def require_single(sent: Iterable[str], repeatable: Sequence[str] = ()) -> None:
    """Refuse fields that occur more than once. Raises `InvalidInput`."""
    for name, count in Counter(sent).items():
        if count > 1 and name not in repeatable:
            raise InvalidInput(f"Expected one `{name}`. Received: {count}", field=(name,))


def require_no_query(sent: Iterable[str]) -> None:
    """Refuse query parameters of a request whose fields are in its body.

    Raises:
        RequestValidationError: Names each query parameter.
    """
    misplaced = [
        {"type": "misplaced", "loc": ("query", name), "msg": "", "input": None}
        for name in dict.fromkeys(sent)
    ]
    if misplaced:
        raise RequestValidationError(misplaced)


def unknown_field(name: str, known: Sequence[str]) -> str:
    """Return the message for an unknown field, with the nearest known name if there is one."""
    names = ", ".join(f"`{one}`" for one in known)
    near = nearest_field(name[:SHOWN_CHARACTERS], tuple(known))
    hint = f". Did you mean `{near}`?" if near else ""
    return f"Expected one of {names}. Received: `{name[:SHOWN_CHARACTERS]}`{hint}"


@lru_cache(maxsize=1_000)
def nearest_field(name: str, known: tuple[str, ...]) -> str | None:
    """Return the known field that a name means, by the names that shops use or by its spelling."""
    spelled = {normalized(one): one for one in known}
    for names in PRODUCT_NAMES.values():
        for field in [one for one in known if one in names]:
            spelled = {**dict.fromkeys(names, field), **spelled}
    plain = normalized(name)
    close = (
        [plain] if plain in spelled else difflib.get_close_matches(plain, spelled, 1, _SIMILARITY)
    )
    return spelled[close[0]] if close else None


def _unknown(name: str, known: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "extra_forbidden",
        "loc": ("body", name),
        "msg": "",
        "input": None,
        "ctx": {"known": known},
    }
