"""Loading of releases in a worker: what cannot be loaded is remembered, announced and rests."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import structlog

from shared.errors import (
    ModalityNotInRelease,
    NotFound,
    ReleaseIncompatible,
    ReleaseUnloadable,
    Unavailable,
)
from shared.inference.releases.rests import Rests
from shared.memory import forget_variables, return_free_memory

log = structlog.get_logger(__name__)

#: Errors that no further try changes; the jobs of such a release fail.
FINAL = (NotFound, ModalityNotInRelease, ReleaseIncompatible)


class Loads:
    """The loads of one kind of model.

    Any failure but a final one is this worker's, not the message's: it becomes `ReleaseUnloadable`,
    with which the message returns to its queue.

    Args:
        part: What is loaded, for the log.
    """

    def __init__(self, part: str) -> None:
        self._part = part
        self._rests = Rests()

    def require_rested(self, version: str) -> None:
        """Raise `ReleaseUnloadable` while a release rests, without trying it."""
        self._rests.require_rested(version)

    @contextmanager
    def loading(self, version: str) -> Iterator[None]:
        """Load a release in the block, unless it rests after a failure.

        Raises:
            ReleaseUnloadable: It rests, or the block failed.
        """
        self._rests.take_turn(version)
        try:
            yield
        except FINAL:
            self._rests.remove(version)
            raise
        except Exception as error:
            forget_variables(error)
            raise self._failed(version, error) from error
        finally:
            # Reading a model takes several times its size, in whichever thread needs it first.
            return_free_memory()
        self._rests.remove(version)

    def reasons(self) -> Mapping[str, str]:
        """Return why releases cannot be loaded, by version."""
        return self._rests.reasons()

    def _failed(self, version: str, error: Exception) -> ReleaseUnloadable:
        is_known = isinstance(error, Unavailable)
        reason = " ".join(str(error).split()) if is_known else f"{type(error).__name__}: {error}"
        self._rests.add(version, reason)
        log.error("release_not_loaded", release=version, part=self._part, error=reason)
        return ReleaseUnloadable(f"Release {version} cannot be loaded: {reason}")
