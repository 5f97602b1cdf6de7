"""What can go wrong, as one small tree.

RayonError
├── SignedOut      nobody is signed in, or the session has ended
├── Refused        the service said no, and why
├── Limited        too much at once; `retry_after` seconds later it may go
├── Unreachable    no answer, or one that says that the service cannot work now
├── Failed         a job that ended without an answer
└── Unfinished     the time to wait was over before the answer came
"""

from dataclasses import dataclass


class RayonError(Exception):
    """Anything this client raises on purpose; its text is a sentence for a person."""


class SignedOut(RayonError):
    """Nobody is signed in, or the session has ended."""


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one field of a request."""

    field: str
    message: str


class Refused(RayonError):
    """The service said no. The attributes are those of its problem document (RFC 9457)."""

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
    """Too much at once.

    Args:
        detail: Which limit, in the service's words.
        retry_after: Seconds, where the service said how long.
    """

    def __init__(self, detail: str, *, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after


class Unreachable(RayonError):
    """No answer, or one that says that the service cannot work now.

    Args:
        detail: What was tried and what came.
        status: Of the answer, if there was one.
        retry_after: Seconds, where the service said how long.
    """

    def __init__(
        self, detail: str, *, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.retry_after = retry_after


class Failed(RayonError):
    """A job that ended without an answer."""

    def __init__(self, detail: str, *, job_id: str, code: str) -> None:
        super().__init__(detail)
        self.job_id = job_id
        self.code = code


class Unfinished(RayonError):
    """The time to wait was over before the answer came; the work goes on."""

    def __init__(self, detail: str, *, job_id: str) -> None:
        super().__init__(detail)
        self.job_id = job_id
