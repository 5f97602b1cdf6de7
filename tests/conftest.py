"""What all tests share: markers from the path, and the servers."""

from pathlib import Path

import pytest

pytest_plugins = ("tests.servers",)

LEVELS = ("unit", "integration", "model", "e2e")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its level, which is the first folder of its path."""
    root = Path(__file__).parent
    for item in items:
        level = item.path.relative_to(root).parts[0]
        if level in LEVELS:
            item.add_marker(level)
