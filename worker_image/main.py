"""Entry point of the image worker: consumes requests for scores, explanations and thumbnails."""

from datetime import UTC, datetime

from shared.broker import Broker
from shared.contracts import ExplainImage, MakeThumbnails, Modality, ScoreImage
from shared.inference.preparation.decoders import Decoders, ordinary_limits, permits_for
from shared.inference.releases.feature_cache import NoFeatures, OnlineFeatures
from shared.inference.releases.image_model import Pixels
from shared.inference.releases.registry import Releases
from shared.inference.releases.shared_champion import SharedChampion
from shared.inference.serving.pool import ModelPool
from shared.inference.serving.worker import run_worker, start_worker
from shared.invalid_settings import run_program
from shared.settings import (
    BrokerSettings,
    FeatureSettings,
    ReleaseSettings,
    StorageSettings,
    WorkerSettings,
)
from shared.storage import Storage
from worker_image.explanation import ImageExplainer
from worker_image.handler import ImageHandler
from worker_image.scorer import Backbones, Heads, ImageScorer
from worker_image.thumbnails import ThumbnailHandler

#: Larger batches are slower: on two cores Xception scores 24.4 images/s in batches of 1 with
#: 403 MB, and 21.3 in batches of 4 with 649 MB; without ONNX Runtime's arena, 19.3 with 342 MB
#: and 18.6 with 379 MB.
LARGEST_BATCH = 1


def main() -> int:
    """Run until SIGTERM; return the exit code."""
    settings = WorkerSettings()
    start_worker("worker_image", settings)
    release_settings = ReleaseSettings()
    broker = Broker(BrokerSettings())
    releases, storage = Releases(release_settings), Storage(StorageSettings())
    backbones = Backbones(threads=settings.model_threads)
    pool: ModelPool[Pixels] = ModelPool(
        releases,
        lambda folder, manifest: ImageScorer(folder, manifest, backbones),
        champion=SharedChampion(releases, release_settings),
        modality=Modality.IMAGE,
        max_batch=min(settings.max_batch, LARGEST_BATCH),
        max_wait_seconds=0.0,
        calls=settings.model_calls,
    )
    pool.watch(release_settings.poll_seconds)
    feature_settings = FeatureSettings()
    features = (
        OnlineFeatures(storage, feature_settings) if feature_settings.enabled else NoFeatures()
    )
    decoders = Decoders(ordinary_limits(settings.decoders), permits=permits_for(settings.threads))
    heads = Heads(releases)
    handler = ImageHandler(pool, heads, features, broker, storage, decoders)
    broker.subscribe(ScoreImage, handler.score_image)
    broker.subscribe(MakeThumbnails, ThumbnailHandler(storage, decoders).make_thumbnails)
    explainer = ImageExplainer(
        pool, heads, broker, storage, decoders, clock=lambda: datetime.now(UTC)
    )
    broker.subscribe(ExplainImage, explainer.explain_image)
    try:
        return run_worker(broker, "image", settings, pool.ready, [pool.loads, heads.loads])
    finally:
        decoders.close()


if __name__ == "__main__":
    run_program(main)
