"""Start and stop of a service process; only the `main` of a service calls this."""

import resource
import signal
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from shared.logs import configure_logs
from shared.memory import exempt_objects, keep_little_memory
from shared.metrics import serve_metrics
from shared.settings import LogSettings, MetricsSettings, TracingSettings
from shared.tracing import configure_tracing

#: Open files that a service asks for, if the system allows more than its usual limit of 1,024.
MOST_FILES = 65_536


def start_service(name: str) -> None:
    """Configure limits, logs, metrics and tracing of this process from the environment.

    Args:
        name: Name of the service in logs and traces.
    """
    keep_little_memory()
    exempt_objects()
    allow_open_files()
    configure_logs(LogSettings(), service=name)
    serve_metrics(MetricsSettings())
    configure_tracing(TracingSettings(), service=name)


def allow_open_files() -> int:
    """Raise the limit of open files of this process as far as allowed, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return MOST_FILES if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def stop_on_signals(stop: Callable[[], object]) -> None:
    """Call a function on SIGTERM and SIGINT, in the main thread."""

    def handle(_signal: int, _frame: FrameType | None) -> None:
        stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)


def exit_on_sigterm() -> None:
    """Exit with code 0 on SIGTERM, until another handler is installed."""
    signal.signal(signal.SIGTERM, _exit)


def _exit(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)
