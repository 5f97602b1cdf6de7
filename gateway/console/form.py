"""Forms of the console: read their fields, and explain what is wrong with them."""

import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData

from gateway.web.forms import FORM_TYPES, MAX_FILES, read_form
from gateway.web.validation_messages import message_of
from shared.errors import InvalidInput, RayonError

Model = TypeVar("Model", bound=BaseModel)
#: Texts of a form, unless it is a table.
MAX_FIELDS = 20
#: Codes of categories have 10 digits at most.
_CODE = re.compile(r"-?[0-9]{1,10}")


def fields(
    *names: str, repeatable: Sequence[str] = (), max_fields: int = MAX_FIELDS, max_files: int = 0
) -> Callable[[Request], AsyncIterator[FormData]]:
    """Return a dependency that reads a form with these fields."""

    async def read(request: Request) -> AsyncIterator[FormData]:
        async with read_form(
            request,
            (*names, *repeatable),
            types=FORM_TYPES,
            repeatable=repeatable,
            max_fields=max_fields,
            max_files=max_files or MAX_FILES,
        ) as form:
            yield form

    return read


def code_in(text: str) -> int | None:
    """Return the code of a category that a text states; `None` for another text."""
    return int(text) if _CODE.fullmatch(text) else None


@dataclass(frozen=True)
class Mistakes:
    """The errors of a form: one for the whole, and one for each field."""

    whole: str = ""
    fields: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, error: RayonError) -> "Mistakes":
        """Return the mistakes that an error names."""
        if isinstance(error, Mistaken):
            return error.mistakes
        if error.field:
            return cls(fields={str(error.field[-1]): error.detail})
        return cls(whole=error.detail)


class Mistaken(InvalidInput):
    """A form whose fields are invalid, each for a reason of its own."""

    def __init__(self, mistakes: Mistakes) -> None:
        super().__init__("; ".join(mistakes.fields.values()) or mistakes.whole)
        self.mistakes = mistakes


def validated(model: type[Model], values: dict[str, Any]) -> Model:
    """Return the body of an API request that a form stands for.

    Raises:
        Mistaken: A field is invalid.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found = {str(one["loc"][0]): message_of(dict(one), []) for one in error.errors()}
        raise Mistaken(Mistakes(fields=found)) from error
