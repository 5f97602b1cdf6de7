"""Read the objects of JSON Lines, with their values as they were sent."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from shared.errors import InvalidInput

_UNSTORABLE = re.compile("[\ud800-\udfff\0]")


def object_in(line: str, number: int, field: str = "products") -> dict[str, Any]:
    """Parse a line of JSON Lines; a comma after the object is ignored.

    Args:
        line: A JSON object.
        number: Number of the line, for the error.
        field: The request field that an error names.

    Raises:
        InvalidInput: The line is not a JSON object.
    """
    text = line.strip().lstrip("\ufeff").removesuffix(",")
    try:
        found = json.loads(text, parse_constant=_constant, parse_float=_number)
        if isinstance(found, dict):
            return {storable(key): _storable_value(value) for key, value in found.items()}
    except json.JSONDecodeError as error:
        raise InvalidInput(
            f"Expected a JSON object in line {number}, column {error.colno}. Received: {error.msg}",
            field=(field,),
        ) from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(
            f"Expected a JSON object in line {number}. Received: {error}", field=(field,)
        ) from error
    raise InvalidInput(
        f"Expected a JSON object in line {number}. Received: {kind_of(found)}", field=(field,)
    )


def cell_of(value: Any) -> str:
    """Return a JSON value as the text of a cell; `null` is empty."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def cells_of(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the values of an object as the text of cells."""
    return {key: cell_of(value) for key, value in values.items()}


def kind_of(value: Any) -> str:
    """Return the name of a value's type in JSON."""
    if value is None:
        return "null"
    names = {bool: "a boolean", str: "a string", list: "an array", dict: "an object"}
    return names.get(type(value), "a number")


def storable(text: str) -> str:
    """Replace what no message or database can store: NUL, and halves of surrogate pairs."""
    return text if text.isascii() and "\0" not in text else _UNSTORABLE.sub("\ufffd", text)


def _storable_value(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list):
        return [_storable_value(one) for one in value]
    if isinstance(value, dict):
        return {storable(key): _storable_value(one) for key, one in value.items()}
    return value


def _constant(_name: str) -> None:
    """Return nothing for `NaN` and `Infinity`, which pandas writes for a missing cell."""
    return


def _number(text: str) -> float | str:
    """Return a number; its text if it is out of the range of a double."""
    number = float(text)
    return number if math.isfinite(number) else text
