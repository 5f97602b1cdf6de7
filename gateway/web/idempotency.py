"""Idempotency-Key: a request that is sent twice has an effect once.

An earlier request is recognized by its user, its key and the fingerprint of its content.
"""

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import IntegrityError

from shared.errors import Conflict

Kept = TypeVar("Kept")


def keep_once(find_kept: Callable[[], Kept | None], keep: Callable[[], Kept]) -> Kept:
    """Return what an earlier request with the same key kept, else keep this one.

    Args:
        find_kept: Returns what the key has kept so far; `None` for a new key, or without a key.
        keep: Keeps this request in a transaction of its own. A unique constraint of the database
            covers user and key; that is what decides between two requests at the same moment.

    Raises:
        Conflict: `find_kept` found the key with other content.
    """
    kept = find_kept()
    if kept is not None:
        return kept
    try:
        return keep()
    except IntegrityError:
        # The same request was committed first, at the same moment; its result is the answer.
        kept = find_kept()
        if kept is None:
            raise
        return kept


def require_same_content(key: str, *, kept: str, sent: str) -> None:
    """Compare the fingerprints of two requests with one key. Raises `Conflict`."""
    if kept != sent:
        raise Conflict(f"The Idempotency-Key {key!r} was used with other content")
