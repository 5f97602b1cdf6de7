"""Two concurrent monitors store each drift window once, on SQLite and PostgreSQL."""

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


class SynchronizedRegistry(FolderRegistry):
    """A registry that answers two queries of the champion at the same moment."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._both = Barrier(2, timeout=60)

    def champion(self) -> str | None:
        self._both.wait()
        return super().champion()


def test_two_monitors_store_a_drifted_window_once_and_raise_no_alert(
    unit_of_work: UnitOfWork, user: User, tmp_path: Path
) -> None:
    # Given the jobs of one window, whose texts have drifted
    folder = write_tiny_release(tmp_path / "release")
    make_products(900).sample().save(folder)
    registry = SynchronizedRegistry(tmp_path / "registry")
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
    # When two monitors measure the window at the same time
    with ThreadPoolExecutor(2) as pool:
        counts = sorted(pool.map(lambda monitor: monitor.look(), monitors))
    # Then one monitor stores it, and one drifted window alone raises no alert
    assert counts == [0, 1]
    with unit_of_work.reading() as session:
        (window,) = session.query(DriftWindow).all()
        assert "quality" in window.moved
        assert session.query(DriftAlert).all() == []
