"""The trainer service: hears `TrainingRequested`, trains, registers, promotes what is better."""

import signal
import sys
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
from shared.logs import configure_logs
from shared.metrics import serve_metrics
from shared.settings import (
    BrokerSettings,
    DatabaseSettings,
    LogSettings,
    MetricsSettings,
    ReleaseSettings,
    StorageSettings,
    TracingSettings,
)
from shared.storage import Storage
from shared.tracing import configure_tracing
from trainer.datasets.check_queue import DatasetChecks
from trainer.runs.attempt import Commands
from trainer.runs.queue import Runs
from trainer.settings import TrainerSettings

log = structlog.get_logger(__name__)

#: How often the table is looked at without a message.
LOOK_SECONDS = 30.0
QUEUES = (TRAINING_QUEUE, DATASETS_QUEUE)


def main() -> int:
    """Run until told to stop."""
    configure_logs(LogSettings(), service="trainer")
    serve_metrics(MetricsSettings())
    configure_tracing(TracingSettings(), service="trainer")
    broker = Broker(BrokerSettings())
    unit_of_work = UnitOfWork(open_engine(DatabaseSettings()), broker)
    settings = TrainerSettings()
    releases = ReleaseSettings()
    train = (*Commands().train, "--mlflow", releases.mlflow_url, "--publish")
    runs = Runs(unit_of_work, Releases(releases), settings, Commands(train=train))
    # A training takes hours; whoever sends data wants to know within minutes what is wrong.
    checks = DatasetChecks(unit_of_work, Storage(StorageSettings()), settings.work_folder)
    wake, sent = threading.Event(), threading.Event()

    def on_training_requested(_request: TrainingRequested) -> None:
        # The message is done with at once. Training takes hours, far longer than Redis waits for
        # an acknowledgement; the row and its lease keep a run from being lost or done twice.
        wake.set()

    def on_dataset_uploaded(_upload: DatasetUploaded) -> None:
        sent.set()

    broker.subscribe(TrainingRequested, on_training_requested)
    broker.subscribe(DatasetUploaded, on_dataset_uploaded)
    broker.presence(process_name("trainer"), QUEUES).start()
    following = threading.Thread(target=_follow, args=(runs, wake), name="runs", daemon=True)
    checking = threading.Thread(target=_check, args=(checks, sent), name="datasets", daemon=True)
    # Until the broker listens to signals itself; a run may have begun before.
    signal.signal(signal.SIGTERM, _leave)
    following.start()
    checking.start()
    try:
        return broker.run(QUEUES, threads=1)
    finally:
        # What runs is stopped and goes back to the queue, for the next start to go on with.
        runs.stopping.set()
        checks.stopping.set()
        wake.set()
        sent.set()
        following.join()
        checking.join()


def _leave(_signal: int, _frame: object) -> None:
    raise SystemExit(0)


def _follow(runs: Runs, wake: threading.Event) -> None:
    while not runs.stopping.is_set():
        wake.clear()
        try:
            runs.work_off()
        except Unavailable as error:
            log.warning("runs_not_looked_at", error=str(error))
        except Exception:
            log.exception("runs_not_looked_at")
        wake.wait(LOOK_SECONDS)


def _check(checks: DatasetChecks, sent: threading.Event) -> None:
    while not checks.stopping.is_set():
        sent.clear()
        try:
            checks.work_off()
            checks.tidy()
        except Unavailable as error:
            log.warning("datasets_not_looked_at", error=str(error))
        except Exception:
            log.exception("datasets_not_looked_at")
        sent.wait(LOOK_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
