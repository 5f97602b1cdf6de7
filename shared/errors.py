"""The error tree. An error's type decides its HTTP status and whether work is retried.

RayonError                 500  internal
├── InvalidInput           422  invalid_input
│   └── ImageUnreadable    422  image_unreadable
├── Unauthenticated        401  unauthenticated
├── Forbidden              403  forbidden
├── NotFound               404  not_found
├── Conflict               409  conflict
├── TooLarge               413  too_large
├── Limited                429  limited
└── Unavailable            503  unavailable (retried)
    └── ReleaseUnloadable  503  release_unloadable (retried)
"""

from typing import ClassVar


class RayonError(Exception):
    """Base of all errors that Rayon raises deliberately.

    Args:
        detail: A sentence for the user: what was expected, what was received, and where.
        field: Path of the input at fault, such as `("designation",)`, where there is one.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something went wrong"
    is_transient: ClassVar[bool] = False

    def __init__(self, detail: str, *, field: tuple[str | int, ...] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field


class InvalidInput(RayonError):
    """The input does not have the expected form or value."""

    status = 422
    code = "invalid_input"
    title = "Invalid input"


class ImageUnreadable(InvalidInput):
    """The image cannot be decoded, or is not safe to decode."""

    code = "image_unreadable"
    title = "Image cannot be read"


class ModalityNotInRelease(InvalidInput):
    """The release has no model for the requested modality."""

    code = "modality_not_in_release"
    title = "The release has no such model"


class ReleaseIncompatible(InvalidInput):
    """The release was made for another preparation than this version of Rayon has."""

    code = "release_incompatible"
    title = "The release does not fit"


class Unauthenticated(RayonError):
    """Credentials are missing, invalid or expired."""

    status = 401
    code = "unauthenticated"
    title = "Sign in first"


class Forbidden(RayonError):
    """The user is signed in but lacks the permission."""

    status = 403
    code = "forbidden"
    title = "Not allowed"


class NotFound(RayonError):
    """The resource does not exist, or belongs to another user."""

    status = 404
    code = "not_found"
    title = "Not found"


class Conflict(RayonError):
    """The request conflicts with the current state."""

    status = 409
    code = "conflict"
    title = "Conflict"


class TooLarge(RayonError):
    """The payload exceeds a size limit."""

    status = 413
    code = "too_large"
    title = "Too large"


class Limited(RayonError):
    """The user has reached a quota or rate limit.

    Args:
        detail: Which limit, and how much of it is used.
        retry_after_seconds: Seconds after which a retry is likely to succeed.
    """

    status = 429
    code = "limited"
    title = "Too much at once"

    def __init__(self, detail: str, *, retry_after_seconds: int) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(RayonError):
    """A required service does not respond; a retry may succeed.

    Args:
        detail: The service, and its error.
        retry_after_seconds: Seconds to wait before a retry, if known.
    """

    status = 503
    code = "unavailable"
    title = "Temporarily unavailable"
    is_transient = True

    def __init__(self, detail: str, *, retry_after_seconds: int | None = None) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class ReleaseUnloadable(Unavailable):
    """The files of a release are broken here or in the registry, or cannot be loaded."""

    code = "release_unloadable"
