"""Header that makes a request safe to repeat."""

import uuid

KEY = "Idempotency-Key"


def once() -> dict[str, str]:
    """Return a header with a unique idempotency key."""
    return {KEY: uuid.uuid4().hex}
