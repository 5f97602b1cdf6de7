"""Run the scheduler: requeue lost jobs, export counts, and delete expired data periodically."""

from gateway.identity import one_time_codes
from gateway.identity.sessions import delete_expired
from gateway.operations.beat_file import BeatFile
from gateway.operations.processes import record_processes
from gateway.operations.queues import record_depths
from gateway.operations.requeue import Sweeper, delete_old_keys
from gateway.operations.retention import Retention
from gateway.operations.row_counts import RowCounts
from gateway.settings import ProcessSettings, RetentionSettings, SweepSettings
from shared.broker import Broker
from shared.db.session import UnitOfWork, open_engine
from shared.invalid_settings import run_program
from shared.schedule import Schedule
from shared.service import start_service, stop_on_signals
from shared.settings import (
    BrokerSettings,
    DatabaseSettings,
    StorageSettings,
)
from shared.storage import Storage

#: Intervals in seconds: deletion of expired keys and sessions, fast counts, processes, all rows.
CLEAN_SECONDS = 3600
DEPTH_SECONDS = 5
PROCESS_SECONDS = 10
ALL_SECONDS = 60


def main() -> int:
    """Run periodic tasks until SIGTERM or SIGINT. Return the exit code."""
    start_service("scheduler")
    queue = BrokerSettings()
    broker, beat_file = Broker(queue), BeatFile(queue.beat_file)
    unit_of_work = UnitOfWork(open_engine(DatabaseSettings()), broker)
    settings = SweepSettings()
    sweeper = Sweeper(unit_of_work, broker.depth, settings, broker.workers)
    storage = Storage(StorageSettings())
    retention = Retention(unit_of_work, storage, RetentionSettings())
    row_counts = RowCounts(unit_of_work, broker, storage)

    def sweep() -> None:
        with beat_file.after():
            sweeper.sweep()

    def clean() -> None:
        with unit_of_work() as work:
            delete_expired(work.session)
            one_time_codes.delete_expired(work.session)
            delete_old_keys(work.session)

    def depths() -> None:
        with unit_of_work.reading() as session:
            record_depths(broker, session)

    schedule = Schedule()
    schedule.every(settings.interval_seconds, "sweep", sweep)
    schedule.every(CLEAN_SECONDS, "clean", clean)
    schedule.every(DEPTH_SECONDS, "depths", depths)
    schedule.every(DEPTH_SECONDS, "unfinished", row_counts.count_unfinished)
    schedule.every(DEPTH_SECONDS, "workers", row_counts.count_workers)
    schedule.every(DEPTH_SECONDS, "probe", row_counts.probe)
    expected = ProcessSettings().expected_processes
    schedule.every(PROCESS_SECONDS, "processes", lambda: record_processes(broker, expected))
    schedule.every(ALL_SECONDS, "all", row_counts.count_all)
    schedule.every(retention.settings.interval_seconds, "retention", retention.clean)

    def stop() -> None:
        retention.stopping.set()
        schedule.stop()

    broker.heartbeat("scheduler").start()
    stop_on_signals(stop)
    schedule.run()
    return 0


if __name__ == "__main__":
    run_program(main)
