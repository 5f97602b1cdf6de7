"""The trainer service: hears `TrainingRequested`, trains, registers, promotes what is better."""

import sys
import threading
import time

import structlog

from shared.broker import Broker
from shared.contracts import TRAINING_QUEUE, TrainingRequested
from shared.db.session import UnitOfWork, open_engine
from shared.errors import Unavailable
from shared.inference.releases import Releases
from shared.logs import configure_logs
from shared.metrics import serve_metrics
from shared.settings import (
    BrokerSettings,
    DatabaseSettings,
    LogSettings,
    MetricsSettings,
    ReleaseSettings,
    TrainerSettings,
)
from trainer.runs import Runs

log = structlog.get_logger(__name__)

#: How often the table is looked at without a message.
LOOK_SECONDS = 30.0


def main() -> int:
    """Run until told to stop."""
    configure_logs(LogSettings(), service="trainer")
    serve_metrics(MetricsSettings())
    broker = Broker(BrokerSettings())
    unit_of_work = UnitOfWork(open_engine(DatabaseSettings()), broker)
    runs = Runs(unit_of_work, Releases(ReleaseSettings()), TrainerSettings(), threading.Lock())

    def on_training_requested(_request: TrainingRequested) -> None:
        runs.work_off()

    # Training takes hours, far longer than Redis waits for an acknowledgement; the lease in the
    # database is what keeps a run from being lost or done twice.
    broker.subscribe(TrainingRequested, on_training_requested, acknowledge_early=True)
    broker.presence("trainer", [TRAINING_QUEUE]).start()
    threading.Thread(target=_look, args=(runs,), name="runs", daemon=True).start()
    return broker.run([TRAINING_QUEUE], threads=1)


def _look(runs: Runs) -> None:
    while True:
        try:
            runs.work_off()
        except Unavailable as error:
            log.warning("runs_not_looked_at", error=str(error))
        time.sleep(LOOK_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
