"""Structured logs with a trace id: one line per event, with its data in fields."""

import logging
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog
from structlog.typing import Processor

from shared.settings import LogSettings

_BEFORE: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
)


def configure_logs(settings: LogSettings, *, service: str) -> None:
    """Write all logs of this process, including those of libraries, to standard error."""
    renderer: list[Processor] = (
        # A traceback by rich takes a second and shows local variables, passwords among them.
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if settings.format == "console"
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_BEFORE,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=settings.level, force=True)
    # These libraries log every request or task at INFO, which Rayon's own events cover already.
    for library in ("alembic", "celery", "httpx", "kombu", "urllib3"):
        logging.getLogger(library).setLevel(max(logging.WARNING, logging.getLogger().level))
    structlog.configure(
        processors=[*_BEFORE, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[settings.level]
        ),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(service=service)


def new_trace_id() -> str:
    """Return a new trace id of 32 hexadecimal digits, as in W3C Trace Context."""
    return uuid.uuid4().hex


@contextmanager
def bound_trace(trace_id: str, links: Sequence[str] = ()) -> Iterator[None]:
    """Add a trace id, and those of requests that share the work, to every log line of the block."""
    shared = {"links": list(links)} if links else {}
    with structlog.contextvars.bound_contextvars(trace_id=trace_id, **shared):
        yield
