"""One system for all tests that do not need their own; starting one takes long."""

from collections.abc import Iterator

import pytest

from tests.e2e.system import System


@pytest.fixture(scope="session")
def _instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    system = System(tmp_path_factory.mktemp("rayon"))
    try:
        yield system
    finally:
        system.stop()


@pytest.fixture
def system(_instance: System) -> System:
    """A system that runs; a test may kill it, and the next one gets it back."""
    if not _instance.is_running:
        _instance.start()
    return _instance
