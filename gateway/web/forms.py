"""Reads forms with files of gigabytes: to the disk, a piece at a time, once the sender is known."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request
from starlette.datastructures import FormData
from starlette.requests import ClientDisconnect

from shared.errors import InvalidInput, Unavailable


@asynccontextmanager
async def read_form(
    request: Request, *, max_files: int, max_fields: int = 20
) -> AsyncIterator[FormData]:
    """Read a multipart form, and remove its files in the end.

    FastAPI itself would take everything in before it asks who is sending it.

    Raises:
        InvalidInput: The client went away before the end; nothing was kept.
        Unavailable: The disk is full.
    """
    try:
        form = await request.form(max_files=max_files, max_fields=max_fields)
    except ClientDisconnect as error:
        raise InvalidInput("The upload broke off; nothing was kept") from error
    except OSError as error:
        raise Unavailable(f"The upload cannot be kept: {error.strerror or error}") from error
    try:
        yield form
    finally:
        await form.close()
