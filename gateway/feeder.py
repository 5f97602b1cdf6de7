"""Run the catalog feeder: a process beside the gateway, so that no upload slows a request."""

import threading

from gateway.catalogs.feeder import Feeder
from gateway.catalogs.files import CatalogFiles
from gateway.operations.beat_file import BeatFile
from gateway.settings import CatalogSettings, ProductSettings, SweepSettings
from shared.broker import UNFED, Broker
from shared.contracts import Lane, Modality, queue_name
from shared.db.session import UnitOfWork, open_engine
from shared.invalid_settings import run_program
from shared.progress import PROGRESS, late_after
from shared.service import start_service, stop_on_signals
from shared.settings import (
    BrokerSettings,
    DatabaseSettings,
    StorageSettings,
)
from shared.storage import Storage


def main() -> int:
    """Feed catalogs until SIGTERM or SIGINT."""
    start_service("feeder")
    queue, limits, settings = BrokerSettings(), ProductSettings(), CatalogSettings()
    broker = Broker(queue)
    feeder = BeatingFeeder(
        UnitOfWork(open_engine(DatabaseSettings()), broker),
        CatalogFiles(Storage(StorageSettings()), limits.max_image_bytes, settings.max_bytes),
        settings,
        max_characters=limits.max_text_characters,
        job_lease_seconds=SweepSettings().lease_seconds,
        workers=lambda: catalog_workers(broker),
    )
    stop = threading.Event()

    def end() -> None:
        stop.set()
        feeder.hurry()

    stop_on_signals(end)
    broker.listener(lambda _ids: feeder.hurry(), UNFED).start()
    feeder.beat_file = BeatFile(queue.beat_file)
    # The first step may copy a large archive, so it is touched before that.
    feeder.beat_file.beat()
    PROGRESS.expect("feed", late_after(settings.interval_seconds))
    broker.heartbeat("feeder").start()
    feeder.run(stop)
    return 0


class BeatingFeeder(Feeder):
    """A feeder that records its progress after each step."""

    beat_file = BeatFile(None)

    def step(self) -> bool:
        """Process every catalog once, then record the progress. Raises `Unavailable`."""
        with self.beat_file.after(), PROGRESS.watched("feed"):
            return super().step()


def catalog_workers(broker: Broker) -> dict[Modality, int]:
    """Count the workers of each modality that consume the catalog lane. Raises `Unavailable`."""
    consumed = [queue for worker in broker.workers() for queue in worker.queues]
    return {modality: consumed.count(queue_name(modality, Lane.CATALOG)) for modality in Modality}


if __name__ == "__main__":
    run_program(main)
