"""Errors of settings: a line for each wrong one, which never shows a secret."""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError

#: Most characters of a wrong value that a line shows.
SHOWN_CHARACTERS = 60
#: Field in the message about a variable that is not JSON.
_NO_JSON = re.compile(r'error parsing value for field "(\w+)"')


class InvalidSettings(ValueError):
    """Settings with wrong or missing values; the message has a line for each."""

    @classmethod
    def of(
        cls,
        error: ValidationError | SettingsError,
        prefix: str,
        fields: Mapping[str, FieldInfo],
    ) -> "InvalidSettings":
        """Return the error of a group of settings.

        Args:
            error: What reading the group raised.
            prefix: Prefix of its environment variables.
            fields: Its settings.
        """
        if isinstance(error, ValidationError):
            # Without the context, in which Pydantic may keep an exception with the value.
            found = error.errors(include_url=False, include_context=False)
            return cls("\n".join(_line(one, prefix, fields) for one in found))
        no_json = _NO_JSON.match(str(error))
        if no_json is None:
            return cls(str(error))
        variable = _variable(no_json[1], prefix, fields)
        return cls(f"{variable}: Expected JSON. Received: text that is not JSON")


def run_program(main: Callable[[], int]) -> NoReturn:
    """Exit with the code of a program; wrong settings are lines without a traceback."""
    try:
        code = main()
    except InvalidSettings as error:
        print(*_marked(str(error)), sep="\n", file=sys.stderr)  # noqa: T201
        code = 1
    sys.exit(code)


def _marked(lines: str) -> Iterator[str]:
    return (f"error: invalid setting: {line}" for line in lines.splitlines())


def _line(error: ErrorDetails, prefix: str, fields: Mapping[str, FieldInfo]) -> str:
    """Return what was expected and what came, with the variable if one is at fault."""
    expected = error["msg"].removeprefix("Value error, ")
    expected = re.sub(r"^(Input|Value) should (be|have)", "Expected", expected)
    if not error["loc"]:
        # A rule about several settings, whose values may be secrets.
        return expected
    name = str(error["loc"][0])
    variable = _variable(name, prefix, fields)
    if error["type"] == "missing":
        return f"{variable}: Expected a value. Received: none"
    if _is_secret(fields.get(name)):
        return f"{variable}: {expected}"
    return f"{variable}: {expected}. Received: {_shown(error['input'])}"


def _variable(name: str, prefix: str, fields: Mapping[str, FieldInfo]) -> str:
    """Return the variable of a field; an alias is the variable itself."""
    return f"{prefix}{name}".upper() if name in fields else name


def _is_secret(field: FieldInfo | None) -> bool:
    return field is None or SecretStr.__name__ in repr(field.annotation)


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= SHOWN_CHARACTERS else f"{shown[:SHOWN_CHARACTERS]}…"
