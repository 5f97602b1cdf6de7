"""The header that makes a request safe to repeat."""

import uuid

KEY = "Idempotency-Key"


def once() -> dict[str, str]:
    """The header of a request that is like no other."""
    return {KEY: uuid.uuid4().hex}
