"""Entry point of the fusion worker: writes answers, stores explanations and dead letters."""

from shared.broker import Broker
from shared.contracts import MessageParked, ModalityExplained, ModalityScored
from shared.db.session import UnitOfWork, open_engine
from shared.inference.releases.registry import Releases
from shared.inference.serving.worker import run_worker, start_worker
from shared.invalid_settings import run_program
from shared.settings import (
    BrokerSettings,
    DatabaseSettings,
    ReleaseSettings,
    WorkerSettings,
)
from worker_fusion.dead_letters import DeadLetters
from worker_fusion.explanations import Explanations
from worker_fusion.join import Fusions, Join


def main() -> int:
    """Run until SIGTERM; return the exit code."""
    settings = WorkerSettings()
    start_worker("worker_fusion", settings)
    broker = Broker(BrokerSettings())
    unit_of_work = UnitOfWork(open_engine(DatabaseSettings()), broker)
    fusions = Fusions(Releases(ReleaseSettings()))
    join = Join(unit_of_work, fusions)
    broker.subscribe(ModalityScored, join.on_modality_scored)
    explanations = Explanations(unit_of_work)
    broker.subscribe(ModalityExplained, explanations.on_modality_explained)
    dead_letters = DeadLetters(unit_of_work, join, explanations)
    broker.subscribe(MessageParked, dead_letters.on_message_parked)
    return run_worker(broker, "fusion", settings, tuple, [fusions.loads])


if __name__ == "__main__":
    run_program(main)
