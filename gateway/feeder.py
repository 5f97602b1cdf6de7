"""Feeds catalogs to the workers, beside the gateway, so that no upload slows an answer."""

import signal
import sys
import threading

from gateway.catalogs.feeder import Feeder
from gateway.catalogs.files import CatalogFiles
from gateway.operations.heartbeat import Heartbeat
from gateway.settings import CatalogSettings, ProductSettings, SweepSettings
from shared.broker import Broker
from shared.contracts import Lane, Modality, queue_name
from shared.db.session import UnitOfWork, open_engine
from shared.logs import configure_logs
from shared.metrics import serve_metrics
from shared.settings import (
    BrokerSettings,
    DatabaseSettings,
    LogSettings,
    MetricsSettings,
    StorageSettings,
    TracingSettings,
)
from shared.storage import Storage
from shared.tracing import configure_tracing


def main() -> int:
    """Run until told to stop."""
    configure_logs(LogSettings(), service="feeder")
    serve_metrics(MetricsSettings())
    configure_tracing(TracingSettings(), service="feeder")
    queue, limits = BrokerSettings(), ProductSettings()
    broker = Broker(queue)
    feeder = BeatingFeeder(
        UnitOfWork(open_engine(DatabaseSettings()), broker),
        CatalogFiles(Storage(StorageSettings()), limits.max_image_bytes),
        CatalogSettings(),
        max_characters=limits.max_text_characters,
        job_lease_seconds=SweepSettings().lease_seconds,
        workers=lambda: catalog_workers(broker),
    )
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    feeder.heart = Heartbeat(queue.beat_file)
    # The first step may begin by copying an archive.
    feeder.heart.beat()
    feeder.run(stop)
    return 0


class BeatingFeeder(Feeder):
    """A feeder that shows that it goes on, after each step."""

    heart = Heartbeat(None)

    def step(self) -> bool:
        """Look at every catalog once, and beat. Raises `Unavailable`."""
        with self.heart.after():
            return super().step()


def catalog_workers(broker: Broker) -> dict[Modality, int]:
    """How many workers of each kind consume the catalog lane. Raises `Unavailable`."""
    consumed = [queue for worker in broker.workers() for queue in worker.queues]
    return {modality: consumed.count(queue_name(modality, Lane.CATALOG)) for modality in Modality}


if __name__ == "__main__":
    sys.exit(main())
