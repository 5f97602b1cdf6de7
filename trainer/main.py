"""The trainer service: executes training runs and checks datasets in two threads."""

import threading

import structlog

from shared.broker import Broker, process_name
from shared.contracts import (
    DATASETS_QUEUE,
    TRAINING_QUEUE,
    DatasetUploaded,
    TrainingRequested,
)
from shared.db.session import UnitOfWork, open_engine
from shared.errors import Unavailable
from shared.inference.releases.registry import Releases
from shared.invalid_settings import run_program
from shared.progress import PROGRESS, late_after
from shared.service import exit_on_sigterm, start_service
from shared.settings import (
    BrokerSettings,
    DatabaseSettings,
    ReleaseSettings,
    StorageSettings,
)
from shared.storage import Storage
from trainer.datasets.check_queue import CHECKS_LOOP, DatasetChecks
from trainer.datasets.labelled.authors import LabelLimits
from trainer.runs.attempt import Commands
from trainer.runs.lease_keeper import RUNS_LOOP
from trainer.runs.queue import Runs
from trainer.settings import TrainerSettings

log = structlog.get_logger(__name__)

#: Polling interval of the tables, should a message be lost.
POLL_SECONDS = 30.0
QUEUES = (TRAINING_QUEUE, DATASETS_QUEUE)


def main() -> int:
    """Run until SIGTERM or SIGINT."""
    start_service("trainer")
    broker = Broker(BrokerSettings())
    unit_of_work = UnitOfWork(open_engine(DatabaseSettings()), broker)
    settings = TrainerSettings()
    releases = ReleaseSettings()
    train = (*Commands().train, "--mlflow", releases.mlflow_url, "--publish")
    runs = Runs(unit_of_work, Releases(releases), settings, Commands(train=train))
    # Checks have their own thread: a training takes hours, but the sender of a dataset should
    # see its findings within minutes.
    checks = DatasetChecks(
        unit_of_work,
        Storage(StorageSettings()),
        settings.work_folder,
        limits=LabelLimits(
            settings.labels_per_user, settings.labels_per_user_share, settings.labels_odds_ratio
        ),
    )
    run_requested, dataset_uploaded = threading.Event(), threading.Event()

    def on_training_requested(_request: TrainingRequested) -> None:
        # The message is acknowledged at once: training takes hours, far longer than Redis waits
        # for it. The row and its lease keep a run from being lost or executed twice.
        run_requested.set()

    def on_dataset_uploaded(_upload: DatasetUploaded) -> None:
        dataset_uploaded.set()

    broker.subscribe(TrainingRequested, on_training_requested)
    broker.subscribe(DatasetUploaded, on_dataset_uploaded)
    broker.presence(process_name("trainer"), QUEUES).start()
    for loop in (RUNS_LOOP, CHECKS_LOOP):
        PROGRESS.expect(loop, late_after(POLL_SECONDS))
    broker.heartbeat("trainer").start()
    run_thread = threading.Thread(
        target=_poll_runs, args=(runs, run_requested), name="runs", daemon=True
    )
    check_thread = threading.Thread(
        target=_poll_datasets, args=(checks, dataset_uploaded), name="datasets", daemon=True
    )
    # The broker installs its own handlers only later; a run may have started before then.
    exit_on_sigterm()
    run_thread.start()
    check_thread.start()
    try:
        return broker.run(QUEUES, threads=1)
    finally:
        # Stopped work returns to its queue and resumes at the next start.
        runs.stopping.set()
        checks.stopping.set()
        run_requested.set()
        dataset_uploaded.set()
        run_thread.join()
        check_thread.join()


def _poll_runs(runs: Runs, wake: threading.Event) -> None:
    while not runs.stopping.is_set():
        wake.clear()
        try:
            with PROGRESS.watched(RUNS_LOOP):
                runs.run_pending()
        except Unavailable as error:
            log.warning("run_poll_failed", error=str(error))
        except Exception:
            log.exception("run_poll_failed")
        wake.wait(POLL_SECONDS)


def _poll_datasets(checks: DatasetChecks, sent: threading.Event) -> None:
    while not checks.stopping.is_set():
        sent.clear()
        try:
            with PROGRESS.watched(CHECKS_LOOP):
                checks.run_pending()
                checks.remove_orphans()
        except Unavailable as error:
            log.warning("dataset_poll_failed", error=str(error))
        except Exception:
            log.exception("dataset_poll_failed")
        sent.wait(POLL_SECONDS)


if __name__ == "__main__":
    run_program(main)
