"""Windows are kept once, on SQLite and on PostgreSQL, also by two monitors at once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier

from shared.db.models import DriftAlert, DriftWindow, User, now
from shared.db.session import UnitOfWork
from shared.settings import StorageSettings
from shared.storage import Storage
from tests.support.factories import make_job
from tests.support.folder_registry import FolderRegistry
from tests.support.tiny_release import write_tiny_release
from tests.unit.trainer.monitoring.products import make_products
from trainer.monitoring.drift.windows import DriftWatch
from trainer.monitoring.settings import DriftSettings

ROWS = 120


class Together(FolderRegistry):
    """Two who ask for the champion get it in one moment."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._both = Barrier(2, timeout=60)

    def champion(self) -> str | None:
        self._both.wait()
        return super().champion()


def test_two_monitors_keep_a_window_that_moved_once(
    unit_of_work: UnitOfWork, user: User, tmp_path: Path
) -> None:
    # Given answers of one window, to products whose texts moved
    folder = write_tiny_release(tmp_path / "release")
    make_products(900).sample().save(folder)
    registry = Together(tmp_path / "registry")
    registry.mark_champion(registry.register(folder, description="with a reference"))
    begin = now() - timedelta(days=2)
    with unit_of_work() as work:
        work.session.add_all(
            make_job(
                user,
                designation=title,
                status="done",
                finished_at=begin + timedelta(seconds=place),
                prdtypecode=10,
            )
            for place, (title, _) in enumerate(make_products(ROWS, titled=0.5).texts)
        )
    settings = DriftSettings(window_rows=ROWS, least_rows=100)
    storage = Storage(StorageSettings(url=str(tmp_path / "storage")))
    monitors = [DriftWatch(unit_of_work, registry, storage, settings) for _ in range(2)]
    # When two monitors measure it at once
    with ThreadPoolExecutor(2) as pool:
        kept = sorted(pool.map(lambda monitor: monitor.look(), monitors))
    # Then it is one window, and nothing moved twice
    assert kept == [0, 1]
    with unit_of_work.reading() as session:
        (window,) = session.query(DriftWindow).all()
        assert "quality" in window.moved
        assert session.query(DriftAlert).all() == []
