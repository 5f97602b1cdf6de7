"""The trainer service with an acted training and a registry in a folder, to be killed."""

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

ACTED = Commands(
    train=(sys.executable, "-m", "tests.integration.acted_training"),
    contest=(sys.executable, "-m", "tests.integration.acted_contest"),
)


def main() -> int:
    """Work off runs until told to stop."""
    unit_of_work = UnitOfWork(open_engine(DatabaseSettings()), FakeBroker())
    registry = FolderRegistry(Path(os.environ["ACTED_REGISTRY"]))
    runs = Runs(unit_of_work, registry, TrainerSettings(), ACTED, beat_seconds=0.1)
    signal.signal(signal.SIGTERM, lambda *_: runs.stopping.set())
    while not runs.stopping.is_set():
        runs.run_pending()
        time.sleep(0.1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
