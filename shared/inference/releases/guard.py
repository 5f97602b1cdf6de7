"""Guard of the registry in a gateway: few calls at once, and none while MLflow does not answer."""

import threading
from collections.abc import Callable
from types import TracebackType

from shared.breaker import RETRY_AFTER_SECONDS, Breaker
from shared.errors import Unavailable
from shared.inference.releases.mlflow_answers import is_answer

#: Calls to MLflow at once. Further ones are refused, so that threads are left for the requests that
#: need no registry.
MOST_CALLS = 8


class Guard:
    """Context of each call. Raises `Unavailable` instead of a call that would wait.

    Args:
        probe: Asks MLflow for something small. Raises an error if it does not answer.
    """

    def __init__(self, probe: Callable[[], object]) -> None:
        self._breaker = Breaker("model registry", probe)
        self._places = threading.BoundedSemaphore(MOST_CALLS)

    def __enter__(self) -> None:
        """Take one of the places, or refuse."""
        self._breaker.require_closed()
        if not self._places.acquire(blocking=False):
            raise Unavailable(
                f"Expected at most {MOST_CALLS} calls to the model registry at once. Received: "
                "one more",
                retry_after_seconds=RETRY_AFTER_SECONDS,
            )

    def __exit__(
        self, _kind: object, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        """Give the place back, and refuse further calls if MLflow did not answer."""
        self._places.release()
        if isinstance(error, Unavailable) and not is_answer(error.__cause__):
            self._breaker.open(str(error.__cause__).splitlines()[0][:200])
