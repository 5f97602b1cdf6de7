from pathlib import Path

import pytest

from tests.e2e.system import System


def test_throwaway_system_does_not_get_the_password_of_a_running_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYON_ADMIN_PASSWORD", "Correct-horse-battery-9")
    monkeypatch.setenv("RAYON_LOG_LEVEL", "WARNING")
    environment = System(tmp_path).environment
    assert "RAYON_ADMIN_PASSWORD" not in environment
    assert environment["RAYON_LOG_LEVEL"] == "WARNING"
