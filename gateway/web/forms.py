"""Streams multipart forms with large files to disk, after the sender is authenticated."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import Request
from starlette.datastructures import FormData
from starlette.requests import ClientDisconnect

from gateway.web.fields import require_known, require_no_query, require_single
from gateway.web.texts import CHARSET_FIELD, require_storable
from shared.errors import InvalidInput, Unavailable

FORM_TYPES = ("multipart/form-data", "application/x-www-form-urlencoded")
#: Files of a form. More than any form has, so that a repeated file is refused by its name.
MAX_FILES = 20
#: Largest text of a form, in bytes. Texts are held in memory, files are not.
MAX_TEXT_BYTES = 1024 * 1024


@asynccontextmanager
async def read_form(
    request: Request,
    known: Sequence[str],
    *,
    types: Sequence[str] = FORM_TYPES[:1],
    repeatable: Sequence[str] = (),
    max_fields: int = 20,
    max_files: int = MAX_FILES,
) -> AsyncIterator[FormData]:
    """Read a form, and delete its files when the block ends.

    Form parameters of FastAPI would be read in full before the sender is authenticated.

    Args:
        request: The request, of which nothing has been read.
        known: Names of the fields.
        types: Content types that the route accepts; one that it reads otherwise is named too.
        repeatable: Fields that may occur more than once.
        max_fields: Largest number of texts.
        max_files: Largest number of files.

    Raises:
        InvalidInput: The body is no form, the client disconnected before its end, a text contains
            NUL, or a field occurs twice; nothing was stored.
        RequestValidationError: A field is unknown, or in the query string.
        Unavailable: The disk is full.
    """
    require_no_query(request.query_params)
    _require_type(request, types)
    try:
        form = await request.form(
            max_files=max_files, max_fields=max_fields, max_part_size=MAX_TEXT_BYTES
        )
    except ClientDisconnect as error:
        raise broken_off() from error
    except OSError as error:
        raise Unavailable(f"The upload cannot be stored: {error.strerror or error}") from error
    try:
        require_storable(form)
        names = [name for name, _ in form.multi_items() if name != CHARSET_FIELD]
        require_known(names, known)
        require_single(names, repeatable)
        yield form
    finally:
        await form.close()


def content_type(request: Request) -> str:
    """Return the content type of a request without its parameters, in lower case."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def broken_off() -> InvalidInput:
    """Return the error for a client that disconnected before the end of the body."""
    return InvalidInput("The upload broke off. Nothing was stored")


def _require_type(request: Request, types: Sequence[str]) -> None:
    sent = content_type(request)
    if sent in FORM_TYPES or (not sent and request.headers.get("content-length", "0") == "0"):
        return
    expected = " or ".join(f"`{one}`" for one in types)
    received = f"`{sent[:60]}`" if sent else "none"
    raise InvalidInput(f"Expected the content type {expected}. Received: {received}")
