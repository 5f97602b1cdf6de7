"""Messages for invalid fields, in place of those of pydantic, FastAPI and Starlette."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gateway.web.fields import unknown_field

#: Characters of a value that a message repeats.
SHOWN_CHARACTERS = 40
_PREFIX = "Value error, "
_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "a boolean"),
    ((int, float), "a number"),
    (str, "text"),
    (bytes, "a body that is not JSON"),
    (list, "a list"),
)
#: Expected values by error type, or by its beginning. Braces are filled from the error's context.
_EXPECTED = {
    "missing": "a value",
    "string_type": "text",
    "int_": "a whole number",
    "float_": "a number",
    "finite_number": "a finite number",
    "decimal_": "a number",
    "bool_": "`true` or `false`",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "none_required": "no value",
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "multiple_of": "a multiple of {multiple_of}",
    "string_too_short": "at least {min_length} characters",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "text that matches `{pattern}`",
    "string_unicode": "text in UTF-8",
    "too_short": "at least {min_length} entries",
    "too_long": "at most {max_length} entries",
    "model_": "a JSON object",
    "dict_type": "a JSON object",
    "mapping_type": "a JSON object",
    "list_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "tuple_type": "a list",
    "datetime_": "a time such as 2026-01-05T10:00:00Z",
    "timezone_": "a time with a time zone, such as 2026-01-05T10:00:00Z",
    "date_": "a date such as 2026-01-05",
    "json_type": "JSON",
    "recursion_loop": "a value without itself in it",
}
#: Messages of Starlette about bodies, and those in their place.
_BODY_MESSAGES = (
    (r"There was an error parsing the body", "Expected a readable body. Received: another"),
    (
        r"Missing boundary in multipart\.",
        "Expected a boundary in the content type `multipart/form-data`. Received: none",
    ),
    (r"Invalid multipart data\.", "Expected a multipart form. Received: a body that is none"),
    (r"The Content-Disposition header field .*", "Expected a name of each field. Received: none"),
    (r"Too many files\..*?(\d+)\.", r"Expected at most \1 files. Received: more"),
    (r"Too many fields\..*?(\d+)\.", r"Expected at most \1 fields. Received: more"),
    (
        r"(?:Field|Part) exceeded maximum size of (\d+)KB\.",
        r"Expected texts of at most \1 KiB. Received: a longer one",
    ),
)


def message_of(error: Mapping[str, Any], known: Sequence[str] = ()) -> str:
    """Return the message for an invalid field: what was expected and what was received.

    Args:
        error: One of the errors of a `RequestValidationError`.
        known: Fields of the body, which a message about an unknown field names.
    """
    kind, context = str(error["type"]), error.get("ctx") or {}
    name = str(error["loc"][-1]) if error["loc"] else ""
    if kind == "extra_forbidden":
        return unknown_field(name, context.get("known") or known)
    if kind == "misplaced":
        return f"Expected `{name[:80]}` in the body. Received: it in the query string"
    if kind == "json_invalid":
        return f"Expected JSON. Received: other text, from character {error['loc'][-1]} on"
    if kind in ("value_error", "assertion_error"):
        return str(error["msg"]).removeprefix(_PREFIX).removeprefix("Assertion failed, ")
    return f"Expected {_expected(kind, context)}. Received: {_received(kind, error.get('input'))}"


def body_message(message: str) -> str:
    """Return a message about the whole body in place of one of Starlette."""
    for pattern, replacement in _BODY_MESSAGES:
        found = re.fullmatch(pattern, message)
        if found:
            return found.expand(replacement)
    return message


def kind_of(value: object) -> str:
    """Return the kind of a JSON value as a message names it, such as `a number`."""
    if value is None:
        return "null"
    return next((name for kind, name in _KINDS if isinstance(value, kind)), "an object")


def _expected(kind: str, context: Mapping[str, Any]) -> str:
    found = _EXPECTED.get(kind) or next(
        (text for start, text in _EXPECTED.items() if start[-1] == "_" and kind.startswith(start)),
        "another value",
    )
    return found.format_map(context)


#: A message about the length or form of a text does not repeat it, because it may be a password.
_RECEIVED: Mapping[str, Callable[[Any], str]] = {
    "missing": lambda _value: "none",
    "string_pattern_mismatch": lambda _value: "other text",
    "string_too_short": lambda value: str(len(value)),
    "string_too_long": lambda value: str(len(value)),
    "too_short": lambda value: str(len(value)),
    "too_long": lambda value: str(len(value)),
}


def _received(kind: str, value: Any) -> str:
    if kind in _RECEIVED:
        return _RECEIVED[kind](value)
    is_plain = isinstance(value, str | int | float) and not kind.startswith(("string_", "model_"))
    return repr(value)[:SHOWN_CHARACTERS] if is_plain else kind_of(value)
