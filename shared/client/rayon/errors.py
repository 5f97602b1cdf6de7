"""Errors raised by the client.

RayonError
├── SignedOut      no sign-in, or the session has expired
├── Refused        the service rejected the request
├── Limited        rate limit or capacity reached; retry after `retry_after` seconds
├── Unreachable    no answer, or the service is unavailable
├── Failed         the job ended without an answer
└── Unfinished     the waiting time ended before the answer arrived
"""

from dataclasses import dataclass


class RayonError(Exception):
    """Base class of the client's errors; the message is a readable sentence."""


class SignedOut(RayonError):
    """Missing sign-in or expired session."""


@dataclass(frozen=True)
class FieldError:
    """Problem with one field of a request."""

    field: str
    message: str


class Refused(RayonError):
    """Rejected request, with the attributes of the problem document (RFC 9457)."""

    def __init__(
        self,
        detail: str,
        *,
        status: int,
        title: str = "",
        type: str = "about:blank",  # noqa: A002 - the document's own word
        errors: tuple[FieldError, ...] = (),
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.title = title
        self.type = type
        self.errors = errors


class Limited(RayonError):
    """Rate limit or capacity of the service reached.

    Args:
        detail: Limit that was reached, as described by the service.
        retry_after: Seconds to wait, if the service named them.
    """

    def __init__(self, detail: str, *, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after


class Unreachable(RayonError):
    """Missing answer, or an answer that reports the service as unavailable.

    Args:
        detail: Description of the attempt and its outcome.
        status: HTTP status of the answer, if there was one.
        retry_after: Seconds to wait, if the service named them.
    """

    def __init__(
        self, detail: str, *, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.retry_after = retry_after


class Failed(RayonError):
    """Job that ended without an answer."""

    def __init__(self, detail: str, *, job_id: str, code: str) -> None:
        super().__init__(detail)
        self.job_id = job_id
        self.code = code


class Unfinished(RayonError):
    """Waiting time that ended before the answer arrived; the job continues."""

    def __init__(self, detail: str, *, job_id: str) -> None:
        super().__init__(detail)
        self.job_id = job_id
