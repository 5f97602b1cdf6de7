"""Throw-away system for one benchmark."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.system import System


@contextmanager
def throwaway_system(**environment: str) -> Iterator[System]:
    """Run a system in a temporary folder, with additional environment variables."""
    with tempfile.TemporaryDirectory() as folder:
        system = System(Path(folder))
        # A bench signs in by this variable, and the next system would take it over.
        system.environment.pop("RAYON_ADMIN_PASSWORD", None)
        system.environment |= environment
        try:
            system.start()
            yield system
        finally:
            system.stop()
