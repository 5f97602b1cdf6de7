"""Shared by all tests: markers from the path, a clean environment, and servers."""

import os
from pathlib import Path

import pytest
import structlog

pytest_plugins = ("tests.support.servers",)

#: Prefix of Rayon's environment variables.
PREFIX = "RAYON_"
LEVELS = ("unit", "integration", "model", "e2e")
LONG = 32


def pytest_configure() -> None:
    """Clear the developer's own settings, which would change what the tests see."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]
    # Nor does a system that a test starts read the developer's `.env`.
    os.environ["RAYON_ENV_FILE"] = os.devnull
    # Rendering a traceback with rich would take longer than most tests.
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], plain])


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Long bytes are named by their argument.

    They are files made on the spot: an archive holds the time of its making, and each process
    that runs tests in parallel would give the test another name.
    """
    return argname if isinstance(val, bytes) and len(val) > LONG else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its level, which is the first folder of its path."""
    root = Path(__file__).parent
    for item in items:
        level = item.path.relative_to(root).parts[0]
        if level in LEVELS:
            item.add_marker(level)
