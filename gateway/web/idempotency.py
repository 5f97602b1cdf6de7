"""Idempotency-Key: a request that is sent twice takes effect once.

Requests are identified by user and key, and compared by a fingerprint of their content.
"""

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import IntegrityError

from shared.errors import Conflict

Result = TypeVar("Result")


def run_once(find_result: Callable[[], Result | None], run: Callable[[], Result]) -> Result:
    """Return the result of an earlier request with the same key, or run this one.

    Args:
        find_result: Returns the stored result of the key; `None` for a new key or without a key.
        run: Executes the request and stores its result in a transaction of its own. A unique
            constraint of the database on user and key decides between concurrent requests.

    Raises:
        Conflict: `find_result` found the key with other content.
    """
    result = find_result()
    if result is not None:
        return result
    try:
        return run()
    except IntegrityError:
        # A concurrent request with the same key has committed first. Its result is returned.
        result = find_result()
        if result is None:
            raise
        return result


def require_same_content(key: str, *, kept: str, sent: str) -> None:
    """Raise `Conflict` if two requests with one key differ in their fingerprints."""
    if kept != sent:
        raise Conflict(
            f"Expected a new Idempotency-Key. Received: {key!r}, which was used with other content"
        )
