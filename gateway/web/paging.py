"""Cursors of paged lists: opaque to the client, the last row's ID inside."""

import base64
import binascii
import uuid

from shared.errors import InvalidInput


def cursor_after(row_id: str) -> str:
    """Return the cursor of the page that begins after a row."""
    return base64.urlsafe_b64encode(row_id.encode()).decode()


def read_cursor(cursor: str) -> str:
    """Return the ID of the row that a page begins after.

    Raises:
        InvalidInput: The cursor was not issued by a list of this API.
    """
    try:
        return str(uuid.UUID(base64.urlsafe_b64decode(cursor.encode()).decode("ascii")))
    except (binascii.Error, ValueError) as error:
        raise InvalidInput(
            f"Expected a cursor as a page gave it. Received: {cursor!r}", field=("cursor",)
        ) from error
