"""The picture worker: hears `ScoreImage`, decodes, scores, tells fusion."""

import sys

from shared.broker import Broker
from shared.contracts import Modality, ScoreImage
from shared.inference.pool import ModelPool
from shared.inference.releases import Releases
from shared.inference.worker import run_worker
from shared.logs import configure_logs
from shared.metrics import serve_metrics
from shared.settings import (
    BrokerSettings,
    LogSettings,
    MetricsSettings,
    ReleaseSettings,
    StorageSettings,
    WorkerSettings,
)
from shared.storage import Storage
from worker_image.handler import ImageHandler
from worker_image.scorer import ImageScorer, Pixels

#: Edge of the pictures that every release so far reads, in pixels.
SIZE = 299
#: Xception on a CPU gains nothing from larger batches, and a small one lets others in sooner.
LARGEST_BATCH = 4


def main() -> int:
    """Run until told to stop."""
    configure_logs(LogSettings(), service="worker_image")
    settings, release_settings = WorkerSettings(), ReleaseSettings()
    serve_metrics(MetricsSettings())
    broker = Broker(BrokerSettings())
    pool: ModelPool[Pixels] = ModelPool(
        Releases(release_settings),
        lambda folder, manifest: ImageScorer(folder, manifest, threads=settings.model_threads),
        modality=Modality.IMAGE,
        max_batch=min(settings.max_batch, LARGEST_BATCH),
        max_wait_seconds=0.0,
    )
    pool.watch(release_settings.poll_seconds)
    handler = ImageHandler(pool, broker, Storage(StorageSettings()), SIZE)
    broker.subscribe(ScoreImage, handler.score_image)
    return run_worker(broker, "image", settings, pool.ready)


if __name__ == "__main__":
    sys.exit(main())
