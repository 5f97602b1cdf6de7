"""Text worker that joins its own scores: `python -m infra.embedded.text_worker`.

On one machine this saves the message to the fusion worker and a process switch. Scores that cannot
be joined here, as while the database is locked, are sent to the fusion worker.
"""

from shared.broker import Broker, LocalDelivery
from shared.contracts import ModalityScored
from shared.db.session import UnitOfWork, open_engine
from shared.db.stalls import breakers_of
from shared.inference.releases.registry import Releases
from shared.inference.serving.worker import start_worker
from shared.invalid_settings import run_program
from shared.settings import BrokerSettings, DatabaseSettings, ReleaseSettings, WorkerSettings
from worker_fusion.join import Fusions, Join
from worker_text.main import run


def main() -> int:
    """Run until SIGTERM; return the exit code."""
    settings = WorkerSettings()
    start_worker("worker_text", settings)
    broker = Broker(BrokerSettings())
    database = DatabaseSettings()
    # A database that hangs delays one message, not each.
    breakers = breakers_of(database)
    unit_of_work = UnitOfWork(open_engine(database, breakers), broker, breakers)
    join = Join(unit_of_work, Fusions(Releases(ReleaseSettings())))
    return run(settings, broker, LocalDelivery(broker, ModalityScored, join.on_modality_scored))


if __name__ == "__main__":
    run_program(main)
