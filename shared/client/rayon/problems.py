"""Turns answers that are no success into errors."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from rayon.errors import FieldError, Limited, RayonError, Refused, SignedOut, Unreachable


def error_of(response: httpx.Response) -> RayonError:
    """The error that an answer stands for; its body must have been read."""
    status = response.status_code
    said = _document(response)
    detail = str(said.get("detail") or said.get("title") or f"HTTP {status}")
    if status == httpx.codes.UNAUTHORIZED:
        return SignedOut(detail)
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return Limited(detail, retry_after=_retry_after(response))
    if status >= 500:
        return Unreachable(detail, status=status, retry_after=_retry_after(response))
    if response.has_redirect_location:
        where = response.headers["Location"]
        return Unreachable(f"{response.url} points to {where}; use that address.", status=status)
    return Refused(
        detail,
        status=status,
        title=str(said.get("title", "")),
        type=str(said.get("type", "about:blank")),
        errors=tuple(
            FieldError(str(one.get("field", "")), str(one.get("message", "")))
            for one in said.get("errors") or ()
        ),
    )


def _document(response: httpx.Response) -> dict[str, Any]:
    try:
        said = response.json()
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds; the header has these or a date (RFC 9110)."""
    said = response.headers.get("Retry-After", "")
    if said.isdigit():
        return float(said)
    try:
        moment = parsedate_to_datetime(said)
    except ValueError:
        return None
    return max(0.0, (moment.astimezone(UTC) - datetime.now(UTC)).total_seconds())
