"""Streams multipart forms with large files to disk, after the sender is authenticated."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request
from starlette.datastructures import FormData
from starlette.requests import ClientDisconnect

from gateway.web.texts import require_storable
from shared.errors import InvalidInput, Unavailable


@asynccontextmanager
async def read_form(
    request: Request, *, max_files: int, max_fields: int = 20
) -> AsyncIterator[FormData]:
    """Read a multipart form, and delete its files when the block ends.

    Form parameters of FastAPI would be read in full before the sender is authenticated.

    Raises:
        InvalidInput: The client disconnected before the end, or a text contains NUL; nothing was
            stored.
        Unavailable: The disk is full.
    """
    try:
        form = await request.form(max_files=max_files, max_fields=max_fields)
    except ClientDisconnect as error:
        raise InvalidInput("The upload broke off. Nothing was stored") from error
    except OSError as error:
        raise Unavailable(f"The upload cannot be stored: {error.strerror or error}") from error
    try:
        require_storable(form)
        yield form
    finally:
        await form.close()
