"""Cost of decoding in processes with limits, beside decoding in the worker itself.

    make decoding

Scores images as the image worker does, with its threads and the starter release. The two ways to
decode alternate, in a different order each round. Without a dataset, the images are generated
photos of 500 x 500. Then it decodes images that are made to be expensive, and reports what each
costs at most.
"""

import argparse
import io
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray
from PIL import Image

from infra.acceptance.products import dataset, rows_of
from shared.contracts import ImageItem, Lane, Modality, ScoreImage
from shared.db.models import new_id
from shared.errors import ImageUnreadable
from shared.inference.preparation.decoders import Decoders, ordinary_limits
from shared.inference.preparation.image import decode
from shared.inference.releases.feature_cache import NoFeatures
from shared.inference.releases.image_model import Pixels
from shared.inference.serving.pool import ModelPool
from shared.logs import configure_logs
from shared.settings import LogSettings, StorageSettings, WorkerSettings
from shared.storage import Storage
from tests.bench.arguments import plain_parser
from tests.bench.commands import run_command
from tests.bench.limits.stopwatch import Cost, Stopwatch
from tests.bench.starter import STARTER
from tests.support.expensive_images import long_line_bmp, repeated_scans
from tests.support.fakes import FakeBroker, FolderReleases
from worker_image.handler import ImageHandler
from worker_image.scorer import Backbones, Heads, ImageScorer

HERE, APART = "in the worker", "in processes with limits"
#: Most that a decoder may cost, as a share of the throughput.
LARGEST_LOSS = 0.05


class DecodersHere:
    """Decoder in the thread of the message, without limits."""

    @contextmanager
    def visit(self, share: str) -> Iterator["DecodersHere"]:  # as the real one
        """Return itself."""
        yield self

    def prepare(self, content: bytes, size: int) -> Pixels:
        """Return the pixels of an image."""
        return np.frombuffer(decode(content, size), np.uint8).reshape(size, size, 3)


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = plain_parser(__doc__)
    parser.add_argument("--data", type=Path, help="dataset in the layout of the challenge")
    parser.add_argument("--images", type=int, default=150, help="of a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=6, help="of each way (default: %(default)s)")
    args = parser.parse_args()
    configure_logs(LogSettings(level="ERROR"), service="decoding")
    decoders = Decoders(ordinary_limits(WorkerSettings().decoders))
    with tempfile.TemporaryDirectory() as folder:
        kept = measure(Path(folder), args, decoders)
    report_expensive(decoders)
    decoders.close()
    return 0 if kept >= 1 - LARGEST_LOSS else 1


def measure(folder: Path, args: argparse.Namespace, decoders: Decoders) -> float:
    """Measure both ways in turns, print their cost, and return the ratio of their throughput."""
    (folder / "releases").mkdir()
    (folder / "releases" / "1").symlink_to(STARTER)
    storage = Storage(StorageSettings(url=str(folder / "storage")))
    uris = [storage.put("images", image) for image in photos(args.data, args.images)]
    pool = model_pool(FolderReleases(folder / "releases"))
    ways: dict[str, Any] = {HERE: DecodersHere(), APART: decoders}
    costs: dict[str, list[Cost]] = {name: [] for name in ways}
    handlers = {name: handler(folder, pool, storage, way) for name, way in ways.items()}
    for each in handlers.values():
        scored(each, uris[:4])
    for number in range(args.rounds):
        for name in sorted(ways, reverse=bool(number % 2)):
            costs[name].append(scored(handlers[name], uris))
    return report(costs)


def report(costs: dict[str, list[Cost]]) -> float:
    """Print the medians of all rounds and return the ratio of the throughput."""
    print(f"{'decoding':<28}{'images/s':>10}{'CPU ms/image':>14}")
    rates, used = {}, {}
    for name, found in costs.items():
        rates[name] = median(cost.rows / cost.seconds for cost in found)
        used[name] = median(1000 * cost.cpu_seconds / cost.rows for cost in found)
        print(f"{name:<28}{rates[name]:>10.1f}{used[name]:>14.2f}")
    kept = rates[APART] / rates[HERE]
    pairs = zip(costs[APART], costs[HERE], strict=True)
    by_round = median(here.seconds / apart.seconds for apart, here in pairs)
    print(f"throughput kept: {kept:.3f} (medians), {by_round:.3f} (median of the rounds' ratios)")
    print(f"CPU time of an image: {used[APART] / used[HERE]:.3f} times as much")
    return max(kept, by_round)


def scored(worker: ImageHandler, uris: Sequence[str]) -> Cost:
    """Score images in single messages, as the interactive lane does."""

    def score(uri: str) -> None:
        items = (ImageItem(job_id=new_id(), uri=uri),)
        message = ScoreImage(trace_id="0" * 32, lane=Lane.INTERACTIVE, release="1", items=items)
        worker.score_image(message)

    watch = Stopwatch.of_tree(psutil.Process())
    with ThreadPoolExecutor(WorkerSettings().threads) as threads:
        list(threads.map(score, uris))
    return watch.cost(len(uris))


def model_pool(registry: FolderReleases) -> ModelPool[Pixels]:
    """Return the models as the worker loads them."""
    backbones = Backbones(threads=os.cpu_count() or 1)
    return ModelPool(
        registry,
        lambda release, manifest: ImageScorer(release, manifest, backbones),
        modality=Modality.IMAGE,
        max_batch=1,
        max_wait_seconds=0.0,
    )


def handler(folder: Path, pool: ModelPool[Pixels], storage: Storage, decoders: Any) -> ImageHandler:
    """Return a handler that computes every image."""
    heads = Heads(FolderReleases(folder / "releases"))
    return ImageHandler(pool, heads, NoFeatures(), FakeBroker(), storage, decoders)


def photos(data: Path | None, count: int) -> list[bytes]:
    """Return images of a dataset, or without one generated photos of 500 x 500, 60 kB each."""
    if data is not None and data.is_dir():
        files = [Path(str(row.image)) for row in rows_of(dataset(data), "image").itertuples()]
        return [files[number % len(files)].read_bytes() + os.urandom(8) for number in range(count)]
    random = np.random.default_rng(0)
    return [encoded(photo(random), "JPEG", quality=90) for _ in range(count)]


def photo(random: np.random.Generator) -> Image.Image:
    """Return a smooth image with some noise."""
    coarse = Image.fromarray(random.integers(0, 256, (25, 25, 3), dtype=np.uint8))
    smooth: NDArray[np.int16] = np.asarray(coarse.resize((500, 500)), dtype=np.int16)
    noise = random.integers(-12, 13, smooth.shape, dtype=np.int16)
    return Image.fromarray(np.clip(smooth + noise, 0, 255).astype(np.uint8))


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    """Return the file of an image."""
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def report_expensive(decoders: Decoders) -> None:
    """Print the cost of expensive images: without limits, and with them."""
    print(f"\n{'expensive image':<34}{'bytes':>9}{'s without':>11}{'s with':>8}  answer")
    for name, content in expensive().items():
        without, _ = timed(lambda content=content: decode(content, 299))  # type: ignore[misc]
        with_, answer = timed(lambda content=content: decoders.prepare(content, 299))  # type: ignore[misc]
        print(f"{name:<34}{len(content):>9}{without:>11.2f}{with_:>8.2f}  {answer}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"peak of this process, which decoded without limits: {peak} MiB")


def timed(decoding: Callable[[], object]) -> tuple[float, str]:
    """Return the seconds of a decoding and its outcome."""
    started = time.perf_counter()
    try:
        decoding()
        outcome = "decoded"
    except (ImageUnreadable, MemoryError) as error:
        outcome = f"unreadable: {error}"
    return time.perf_counter() - started, outcome


def expensive() -> dict[str, bytes]:
    """Return images that take much time or memory for their size."""
    return {
        "BMP, one line filled byte by byte": long_line_bmp(),
        "MPO of 80 more scans": repeated_scans(2_800, 80),
        "MPO of 2,000 more scans": repeated_scans(2_800, 2_000),
        "PNG, blank, 50,000,000 pixels": encoded(Image.new("RGBA", (10_000, 5_000)), "PNG"),
    }


if __name__ == "__main__":
    run_command(main)
