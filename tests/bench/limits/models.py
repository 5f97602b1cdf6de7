"""Cost of scoring in the handlers of the text and image workers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from shared.contracts import Modality, ModalityScored
from shared.inference.preparation.decoders import Decoders, ordinary_limits
from shared.inference.releases.feature_cache import NoFeatures
from shared.inference.serving.pool import ModelPool
from shared.settings import StorageSettings
from shared.storage import Storage
from tests.bench.limits.products import (
    IMAGE_SLICE,
    TEXT_SLICE,
    Product,
    image_message,
    slices,
    text_message,
)
from tests.bench.limits.stopwatch import Cost, Stopwatch
from tests.support.fakes import FakeBroker, FolderReleases
from worker_image.handler import ImageHandler
from worker_image.scorer import Backbones, Heads, ImageScorer
from worker_text.handler import TextHandler
from worker_text.scorer import TextScorer


def measure_text_worker(
    registry: FolderReleases, products: Sequence[Product]
) -> tuple[dict[str, Cost], list[ModalityScored]]:
    """Score texts as the worker does, one thread per call; return cost and messages."""
    pool: ModelPool[str] = ModelPool(
        registry,
        lambda folder, manifest: TextScorer(folder, manifest, threads=1),
        modality=Modality.TEXT,
        max_batch=256,
        max_wait_seconds=0.0,
    )
    broker = FakeBroker()
    handler = TextHandler(pool, broker)
    handler.score_text(text_message(products[:1]))
    # The first message has loaded the model, which is not part of the cost.
    broker.messages.clear()
    watch = Stopwatch.here()
    for part in slices(products, TEXT_SLICE):
        handler.score_text(text_message(part))
    cost = watch.cost(len(products))
    return {"text worker": cost}, [
        message for message in broker.messages if isinstance(message, ModalityScored)
    ]


def measure_image_worker(
    registry: FolderReleases, folder: Path, images: Sequence[bytes]
) -> dict[str, Cost]:
    """Store images, then read, decode and score them as the worker does, one thread per call."""
    storage = Storage(StorageSettings(url=str(folder / "storage")))
    backbones = Backbones(threads=1)
    pool: ModelPool[Any] = ModelPool(
        registry,
        lambda release, manifest: ImageScorer(release, manifest, backbones),
        modality=Modality.IMAGE,
        max_batch=1,
        max_wait_seconds=0.0,
    )
    decoders = Decoders(ordinary_limits(1))
    handler = ImageHandler(pool, Heads(registry), NoFeatures(), FakeBroker(), storage, decoders)
    watch = Stopwatch.here()
    uris = [storage.put("images", image) for image in images]
    storing = watch.cost(len(images))
    handler.score_image(image_message(uris[:1]))
    # With the process that decodes.
    watch = Stopwatch.of_tree(psutil.Process())
    for part in slices(uris, IMAGE_SLICE):
        handler.score_image(image_message(part))
    scoring = watch.cost(len(images))
    decoders.close()
    return {"store an image (a folder)": storing, "image worker": scoring}
