"""One system for all end-to-end tests, because a start takes long."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.system import System

HERE = Path(__file__).parent


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep all tests of the shared system in one process if tests run in parallel."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("e2e"))


@pytest.fixture(scope="session")
def _instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    system = System(tmp_path_factory.mktemp("rayon"))
    # A training that never ends by itself: its data are a pipe into which nobody writes.
    data = tmp_path_factory.mktemp("endless")
    os.mkfifo(data / "X_train_update.csv")
    system.environment["RAYON_TRAINER_DATA"] = str(data)
    try:
        yield system
    finally:
        system.stop()


@pytest.fixture
def system(_instance: System) -> System:
    """Return the running system; start it again if an earlier test stopped it."""
    if not _instance.is_running:
        _instance.start()
    return _instance
