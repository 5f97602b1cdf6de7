"""Setup of all tests: markers from the path, a clean environment and the server fixtures."""

import gc
import os
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest
import structlog

pytest_plugins = ("tests.support.servers",)

#: Prefix of Rayon's environment variables.
PREFIX = "RAYON_"
#: Folders that are markers too.
LEVELS = ("unit", "integration", "model", "e2e")
#: Length in bytes above which a parameter is named by its argument.
LONG = 32


def pytest_configure() -> None:
    """Keep what would change the results out: variables, outer programs and time limits."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]
    # A `make` that a test starts is no part of the one that started the tests.
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
        os.environ.pop(name, None)
    # A system that a test starts must not read the developer's `.env` either.
    os.environ["RAYON_DOTENV"] = os.devnull
    # An example takes longer on a busy machine. The other settings stay those of Hypothesis, which
    # makes the same examples each time in CI.
    slow = [hypothesis.HealthCheck.too_slow]
    hypothesis.settings.register_profile("busy", deadline=None, suppress_health_check=slow)
    hypothesis.settings.load_profile("busy")
    # Rendering a traceback with rich takes longer than most tests.
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], plain])


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect the tests without looking for garbage, and never look through them later.

    Each of the parallel processes imports the whole project and collects all tests, and they stay
    to the end. Looking through them again and again takes an eighth of the processor time.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a long bytes parameter by its argument.

    Such parameters are files that are generated at collection. An archive contains its creation
    time, so the test would have a different name in each parallel process.
    """
    return argname if isinstance(val, bytes) and len(val) > LONG else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its level, which is the first folder of its path."""
    root = Path(__file__).parent
    for item in items:
        level = item.path.relative_to(root).parts[0]
        if level in LEVELS:
            item.add_marker(level)
