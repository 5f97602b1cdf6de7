"""Calls of a slow dependency, each given up after a time limit."""

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from shared.errors import Unavailable

Result = TypeVar("Result")


def within(seconds: float, act: Callable[[], Result], *, dependency: str) -> Result:
    """Return the result of a call, or raise `Unavailable` after a time limit.

    A call that was given up goes on in its thread and may still have an effect. The clients of some
    dependencies have only one time limit for all their calls, which suits their longest one.

    Args:
        seconds: Time limit.
        act: The call. It must not use a transaction of the caller.
        dependency: Name in the error, such as `model registry`.
    """
    future: Future[Result] = Future()
    context = contextvars.copy_context()

    def call() -> None:
        try:
            future.set_result(context.run(act))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=call, name=f"call of the {dependency}", daemon=True).start()
    try:
        return future.result(timeout=seconds)
    except TimeoutError as error:
        if future.done():
            return future.result()
        raise Unavailable(
            f"The {dependency} has not answered within {seconds:g} seconds"
        ) from error
