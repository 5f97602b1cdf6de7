"""The trainer service with scripted training and a registry in a folder; tests kill it."""

import os
import signal
import sys
import time
from pathlib import Path

from shared.db.session import UnitOfWork, open_engine
from shared.settings import DatabaseSettings
from tests.support.fakes import FakeBroker
from tests.support.folder_registry import FolderRegistry
from trainer.runs.attempt import Commands
from trainer.runs.queue import Runs
from trainer.settings import TrainerSettings

SCRIPTED = Commands(
    train=(sys.executable, "-m", "tests.integration.scripted_training"),
    contest=(sys.executable, "-m", "tests.integration.scripted_comparison"),
)


def main() -> int:
    """Process training runs until SIGTERM."""
    unit_of_work = UnitOfWork(open_engine(DatabaseSettings()), FakeBroker())
    registry = FolderRegistry(Path(os.environ["SCRIPTED_REGISTRY"]))
    runs = Runs(unit_of_work, registry, TrainerSettings(), SCRIPTED, beat_seconds=0.1)
    signal.signal(signal.SIGTERM, lambda *_: runs.stopping.set())
    while not runs.stopping.is_set():
        runs.run_pending()
        time.sleep(0.1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
