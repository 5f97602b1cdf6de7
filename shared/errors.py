"""The error tree. The type of an error decides the HTTP status and whether work is tried again.

RayonError                 500  internal
├── InvalidInput           422  invalid_input
│   └── ImageUnreadable    422  image_unreadable
├── Unauthenticated        401  unauthenticated
├── Forbidden              403  forbidden
├── NotFound               404  not_found
├── Conflict               409  conflict
├── TooLarge               413  too_large
├── Limited                429  limited
└── Unavailable            503  unavailable (tried again)
"""

from typing import ClassVar


class RayonError(Exception):
    """Anything Rayon raises on purpose.

    Args:
        detail: A sentence for a person: what was expected, what came, and where.
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
    """What came does not fit what was asked for."""

    status = 422
    code = "invalid_input"
    title = "Invalid input"


class ImageUnreadable(InvalidInput):
    """An image that cannot be decoded, or that it would not be safe to decode."""

    code = "image_unreadable"
    title = "Image cannot be read"


class ModalityNotInRelease(InvalidInput):
    """A release was fitted on data without texts, or without images, and is asked for those."""

    code = "modality_not_in_release"
    title = "The release has no such model"


class Unauthenticated(RayonError):
    """Nobody is signed in, or the credentials are not valid (any more)."""

    status = 401
    code = "unauthenticated"
    title = "Sign in first"


class Forbidden(RayonError):
    """Signed in, but not allowed to do this."""

    status = 403
    code = "forbidden"
    title = "Not allowed"


class NotFound(RayonError):
    """No such thing, or it belongs to somebody else."""

    status = 404
    code = "not_found"
    title = "Not found"


class Conflict(RayonError):
    """The request contradicts the present state."""

    status = 409
    code = "conflict"
    title = "Conflict"


class TooLarge(RayonError):
    """More bytes than a limit allows."""

    status = 413
    code = "too_large"
    title = "Too large"


class Limited(RayonError):
    """More than one user may have at once.

    Args:
        detail: Which limit, and how much of it is used.
        retry_after_seconds: When there is likely to be room.
    """

    status = 429
    code = "limited"
    title = "Too much at once"

    def __init__(self, detail: str, *, retry_after_seconds: int) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(RayonError):
    """A part that is needed does not answer now; later it may.

    Args:
        detail: Which part, and what it said.
        retry_after_seconds: When to ask again, if that is known.
    """

    status = 503
    code = "unavailable"
    title = "Temporarily unavailable"
    is_transient = True

    def __init__(self, detail: str, *, retry_after_seconds: int | None = None) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds
