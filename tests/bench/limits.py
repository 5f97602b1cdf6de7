"""What each part of the system costs, and so what limits it: part by part, on this machine.

    make limits                 # products written here, pictures drawn here
    make limits DATA=folder     # real ones

Each part does its work alone, through the code that does it in the system: the broker publishes and
consumes, jobs are inserted, the workers' handlers score, fusion's join answers. What counts is the
processor time of the part, not the time on the clock: other parts and other programs take turns on
these cores. A second table computes what more of the same needs.
"""

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import redis
from pydantic import SecretStr
from sqlalchemy import Engine, func, select, text, update

from gateway import catalog_jobs
from gateway.jobs import LARGEST_GROUP, messages_of
from infra.embedded.settings import PROJECT
from shared.broker import Broker
from shared.contracts import (
    ImageItem,
    Lane,
    Modality,
    ModalityScore,
    ModalityScored,
    ScoreImage,
    ScoreText,
    TextItem,
)
from shared.db.migrations.upgrade import upgrade
from shared.db.models import Catalog, CatalogStatus, Job, JobStatus, User, new_id, now
from shared.db.session import UnitOfWork, open_engine
from shared.inference.features import NoFeatures
from shared.inference.pool import ModelPool
from shared.logs import configure_logs
from shared.settings import (
    BrokerSettings,
    CatalogSettings,
    DatabaseSettings,
    LogSettings,
    StorageSettings,
)
from shared.storage import Storage
from tests.bench.client import save
from tests.bench.products import dataset, rows_of
from tests.bench.smoke import drawn
from tests.bench.validation import GOLDEN, read
from tests.factories import make_job, make_user
from tests.fakes import FakeBroker, FolderReleases
from tests.servers import RedisServer, new_database, postgres_server
from worker_fusion.join import Fusions, Join
from worker_image.handler import ImageHandler
from worker_image.scorer import Backbones, Heads, ImageScorer
from worker_text.handler import TextHandler
from worker_text.scorer import TextScorer

TEXT_SLICE, IMAGE_SLICE = CatalogSettings().text_slice, CatalogSettings().image_slice
TRACE = "0" * 31 + "1"
QUEUE = "text.catalog"
RESULT = "limits:result"
CONSUME_SECONDS = 300.0


@dataclass(frozen=True)
class Product:
    """A product to work with."""

    designation: str
    description: str


@dataclass(frozen=True)
class Cost:
    """What one part spent on some rows.

    Attributes:
        rows: Products that went through.
        seconds: On the clock.
        cpu_seconds: Of the part's processes.
    """

    rows: int
    seconds: float
    cpu_seconds: float

    @property
    def rows_per_core_second(self) -> float:
        """Rows that one core does in a second, if it does nothing else."""
        return self.rows / self.cpu_seconds

    def shown(self, name: str) -> str:
        """A line of the table."""
        micros = 1e6 * self.cpu_seconds / self.rows
        rate = self.rows_per_core_second
        return f"{name:<34}{self.rows:>8}{self.seconds:>9.1f}{micros:>12.0f}{rate:>12.0f}"


def main() -> int:
    """Measure and compute; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rows", type=int, default=8_192, help="texts; of pictures 1 in 40")
    parser.add_argument("--per-second", type=float, default=10.0, help="products of the plan")
    given = parser.parse_args()
    configure_logs(LogSettings(level="WARNING"), service="limits")
    products, pictures = material(given.data, given.rows, max(IMAGE_SLICE, given.rows // 40))
    print(f"{os.cpu_count()} cores, {len(products)} texts, {len(pictures)} pictures")
    print(f"{'part':<34}{'rows':>8}{'seconds':>9}{'us CPU/row':>12}{'rows/s core':>12}")
    with tempfile.TemporaryDirectory() as folder:
        costs, sizes = measure(Path(folder), products, pictures)
    for name, size in sizes.items():
        print(f"{name:<54}{size:>12.0f}")
    plans = [plan(costs, sizes, given.per_second * times) for times in (1, 10, 100, 1000)]
    day = sizing(costs, sizes)
    print("\nSize: what one core does if it does everything, and what is kept")
    for name, figure in day.items():
        print(f"{name:<54}{figure:>12,.2f}")
    show(plans)
    figures = {
        name: vars(cost) | {"per_core": cost.rows_per_core_second} for name, cost in costs.items()
    }
    save(
        "limits",
        {"cores": os.cpu_count(), "costs": figures, "sizes": sizes, "size": day, "plans": plans},
    )
    return 0


def material(folder: Path | None, texts: int, pictures: int) -> tuple[list[Product], list[bytes]]:
    """Products and pictures of a dataset's test rows, or written and drawn here."""
    if folder is not None and folder.is_dir():
        data = dataset(folder)
        rows = rows_of(data, "text")
        found = [Product(str(r.designation), str(r.description)) for r in rows.itertuples()]
        files = [Path(str(r.picture)) for r in rows_of(data, "image").itertuples()]
        images = [files[n % len(files)].read_bytes() + os.urandom(8) for n in range(pictures)]
    else:
        found = [Product(one.designation, one.description) for one in read(GOLDEN)]
        images = [drawn() for _ in range(pictures)]
    # Numbered, for a text that comes again might be remembered somewhere.
    return [
        Product(f"{one.designation} {number}", one.description)
        for number, one in zip(range(texts), _around(found), strict=False)
    ], images


def measure(
    folder: Path, products: list[Product], pictures: list[bytes]
) -> tuple[dict[str, Cost], dict[str, float]]:
    """Every part, one after the other; prints each as it is known."""
    costs: dict[str, Cost] = {}
    sizes: dict[str, float] = {}

    def tell(found: dict[str, Cost]) -> None:
        costs.update(found)
        for name, cost in found.items():
            print(cost.shown(name), flush=True)

    (folder / "releases").mkdir()
    (folder / "releases" / "1").symlink_to(PROJECT / "infra" / "starter_release")
    registry = FolderReleases(folder / "releases")
    for name, size in (("single jobs", LARGEST_GROUP), ("catalogs", TEXT_SLICE)):
        found, bytes_waiting = queue(folder, products, size, name)
        tell(found)
        sizes[f"bytes of Redis a row that waits, {name}"] = bytes_waiting
    found, scored = texts(registry, products)
    tell(found)
    tell(images(registry, folder, pictures))
    sizes["bytes of a picture"] = sum(map(len, pictures)) / len(pictures)
    found, grown = rows(folder, registry, products, scored)
    tell(found)
    sizes |= grown
    return costs, sizes


# The queue


def queue(
    folder: Path, products: Sequence[Product], size: int, name: str
) -> tuple[dict[str, Cost], float]:
    """Publish and consume; what the sender, Redis and the receiver spend, and Redis's memory."""
    place = folder / f"redis-{size}"
    place.mkdir()
    server = RedisServer(place)
    server.start()
    try:
        broker = Broker(BrokerSettings(url=SecretStr(server.url)))
        client = redis.Redis.from_url(server.url)
        messages = [text_message(part) for part in _slices(products, size)]
        broker.publish(messages[0])
        client.flushall()
        memory = _memory(client)
        sent, of_redis = Stopwatch.here(), Stopwatch.of_redis(client)
        for message in messages:
            broker.publish(message)
        publishing, storing = sent.cost(len(products)), of_redis.cost(len(products))
        waiting = (_memory(client) - memory) / len(products)
        receiving, giving = consume(server.url, len(products), client)
    finally:
        server.kill()
    both = Cost(
        len(products), storing.seconds + giving.seconds, storing.cpu_seconds + giving.cpu_seconds
    )
    return {
        f"publish, {name}": publishing,
        f"consume, {name}": receiving,
        f"Redis, {name}": both,
    }, waiting


def consume(url: str, count: int, client: redis.Redis) -> tuple[Cost, Cost]:
    """Let a worker of its own empty the queue; returns what it spent, and Redis meanwhile."""
    worker = multiprocessing.get_context("spawn").Process(
        target=_consumer, args=(url, count), daemon=True
    )
    worker.start()
    try:
        _until(lambda: client.exists(RESULT) == 1, "the queue is empty")
    finally:
        worker.terminate()
        worker.join()
    found: Any = client.get(RESULT)
    here, of_redis = json.loads(found)
    return Cost(**here), Cost(**of_redis)


def _consumer(url: str, count: int) -> None:
    """A worker that counts rows, and tells what that cost from the first message to the last."""
    broker, client = Broker(BrokerSettings(url=SecretStr(url))), redis.Redis.from_url(url)
    lock, seen = threading.Lock(), 0
    watches: list[Stopwatch] = []
    # Celery would have another user than root; here it is this machine's own worker.
    warnings.simplefilter("ignore")
    configure_logs(LogSettings(level="ERROR"), service="limits")

    def handle(request: ScoreText) -> None:
        nonlocal seen
        with lock:
            if not watches:
                watches.extend([Stopwatch.here(), Stopwatch.of_redis(client)])
            seen += len(request.items)
            if seen == count:
                client.set(RESULT, json.dumps([vars(watch.cost(count)) for watch in watches]))

    broker.subscribe(ScoreText, handle)
    broker.run([QUEUE], threads=16)


# The models


def texts(
    registry: FolderReleases, products: Sequence[Product]
) -> tuple[dict[str, Cost], list[ModalityScored]]:
    """Score texts as the worker does, in one thread a call; returns what it would send, too."""
    pool: ModelPool[str] = ModelPool(
        registry,
        lambda folder, manifest: TextScorer(folder, manifest, threads=1),
        modality=Modality.TEXT,
        max_batch=256,
        max_wait_seconds=0.0,
    )
    told = FakeBroker()
    handler = TextHandler(pool, told)
    handler.score_text(text_message(products[:1]))
    told.messages.clear()
    watch = Stopwatch.here()
    for part in _slices(products, TEXT_SLICE):
        handler.score_text(text_message(part))
    cost = watch.cost(len(products))
    return {"text worker": cost}, [one for one in told.messages if isinstance(one, ModalityScored)]


def images(registry: FolderReleases, folder: Path, pictures: Sequence[bytes]) -> dict[str, Cost]:
    """Read, decode and score pictures as the worker does, in one thread a call."""
    storage = Storage(StorageSettings(url=str(folder / "storage")))
    backbones = Backbones(threads=1)
    pool: ModelPool[Any] = ModelPool(
        registry,
        lambda place, manifest: ImageScorer(place, manifest, backbones),
        modality=Modality.IMAGE,
        max_batch=1,
        max_wait_seconds=0.0,
    )
    handler = ImageHandler(pool, Heads(registry), NoFeatures(), FakeBroker(), storage)
    watch = Stopwatch.here()
    uris = [storage.put("pictures", picture) for picture in pictures]
    storing = watch.cost(len(pictures))
    handler.score_image(image_message(uris[:1]))
    watch = Stopwatch.here()
    for part in _slices(uris, IMAGE_SLICE):
        handler.score_image(image_message(part))
    return {"store a picture (a folder)": storing, "picture worker": watch.cost(len(pictures))}


# The rows


def rows(
    folder: Path,
    registry: FolderReleases,
    products: Sequence[Product],
    scored: Sequence[ModalityScored],
) -> tuple[dict[str, Cost], dict[str, float]]:
    """Insert jobs and answer them on PostgreSQL; what the client and the server spend."""
    place = folder / "postgres"
    place.mkdir()
    found: dict[str, Cost] = {}
    sizes: dict[str, float] = {}
    with ExitStack() as stack:
        server = stack.enter_context(postgres_server(place))
        url = stack.enter_context(new_database(server))
        upgrade(url)
        engine = open_engine(DatabaseSettings(url=SecretStr(url)))
        stack.callback(engine.dispose)
        unit_of_work = UnitOfWork(engine, FakeBroker())
        base = psutil.Process(server.get_postmaster_info().pid)
        user = make_user()
        with unit_of_work() as work:
            work.session.add(user)
        with spent(engine, base, len(products), found, "insert single jobs"):
            insert_singles(unit_of_work, user, products)
        with unit_of_work() as work:
            work.session.execute(update(Job).values(status=JobStatus.CANCELLED.value))
        size = _size(engine)
        with spent(engine, base, len(products), found, "insert catalog rows") as log:
            ids = insert_catalog(unit_of_work, user, products)
        inserted = log["bytes"]
        join = Join(unit_of_work, Fusions(registry))
        with spent(engine, base, len(products), found, "fusion worker, answers") as log:
            for message, part in zip(scored, _slices(ids, TEXT_SLICE), strict=True):
                join.on_modality_scored(_for(message, part))
        with unit_of_work.reading() as session:
            done = session.scalar(select(func.count()).where(Job.status == JobStatus.DONE.value))
        if done != len(products):
            raise SystemExit(f"Expected {len(products)} jobs done. Received: {done}")
        sizes["bytes of PostgreSQL a job that is done"] = (_size(engine) - size) / len(products)
        sizes["bytes of its log a job"] = (inserted + log["bytes"]) / len(products)
    return found, sizes


def insert_singles(unit_of_work: UnitOfWork, user: User, products: Sequence[Product]) -> None:
    """Insert single jobs as the gateway does with those that come together."""
    for part in _slices(products, LARGEST_GROUP):
        jobs = [
            make_job(user, designation=one.designation, description=one.description) for one in part
        ]
        with unit_of_work() as work:
            work.session.add_all(jobs)
            for message in messages_of(jobs):
                work.publish(message)


def insert_catalog(unit_of_work: UnitOfWork, user: User, products: Sequence[Product]) -> list[str]:
    """Insert a catalog's rows slice by slice as the feeder does; returns the jobs' ids."""
    catalog = Catalog(
        user_id=user.id,
        trace_id=TRACE,
        name="p.csv",
        model="fusion",
        release="1",
        status=CatalogStatus.RUNNING.value,
        dry_run=False,
        fingerprint="0" * 64,
        size=0,
        has_images=False,
        rows=len(products),
        created_at=now(),
    )
    with unit_of_work() as work:
        work.session.add(catalog)
    ids = []
    for part in _slices(products, TEXT_SLICE):
        jobs = [_values(catalog, one) for one in part]
        with unit_of_work() as work:
            catalog_jobs.add(work, catalog, jobs)
        ids += [job["id"] for job in jobs]
    return ids


def _values(catalog: Catalog, product: Product) -> dict[str, Any]:
    moment = now()
    return {
        "id": new_id(),
        "user_id": catalog.user_id,
        "catalog_id": catalog.id,
        "trace_id": TRACE,
        "lane": Lane.CATALOG.value,
        "model": "fusion",
        "release": "1",
        "designation": product.designation,
        "description": product.description,
        "image_uri": None,
        "wants_text": True,
        "wants_image": False,
        "status": JobStatus.QUEUED.value,
        "created_at": moment,
        "published_at": moment,
        "leased_until": moment,
        "attempts": 0,
    }


@contextmanager
def spent(
    engine: Engine, server: psutil.Process, count: int, into: dict[str, Cost], name: str
) -> Iterator[dict[str, float]]:
    """Measure a block: the client's processor time, the server's, and how much its log grew."""
    log: dict[str, float] = {}
    position = _log_position(engine)
    ours, theirs = Stopwatch.here(), Stopwatch.of_tree(server)
    yield log
    into[name] = ours.cost(count)
    into[f"PostgreSQL, {name}"] = theirs.cost(count)
    log["bytes"] = _log_position(engine) - position


# The plan


def sizing(costs: dict[str, Cost], sizes: dict[str, float]) -> dict[str, float]:
    """Rows a day that one core does from upload to answer, and what a million of them leave."""

    def seconds(*names: str) -> float:
        return sum(1 / costs[name].rows_per_core_second for name in names)

    queue = seconds("publish, catalogs", "consume, catalogs", "Redis, catalogs")
    answer = seconds("fusion worker, answers", "PostgreSQL, fusion worker, answers")
    fed = seconds("insert catalog rows", "PostgreSQL, insert catalog rows")
    # To the station and from there to fusion.
    text_row = fed + 2 * queue + seconds("text worker") + answer
    picture = seconds("store a picture (a folder)", "picture worker") + 2 * queue + answer
    return {
        "texts a day, millions": 0.0864 / text_row,
        "texts with a new picture a day, millions": 0.0864 / (text_row + picture),
        "GB of PostgreSQL a million jobs": sizes["bytes of PostgreSQL a job that is done"] / 1e3,
        "GB of its log a million jobs (kept for a while)": sizes["bytes of its log a job"] / 1e3,
        "GB of pictures a million": sizes["bytes of a picture"] / 1e3,
        "GB of Redis a million rows that wait": sizes["bytes of Redis a row that waits, catalogs"]
        / 1e3,
    }


def plan(costs: dict[str, Cost], sizes: dict[str, float], per_second: float) -> dict[str, float]:
    """What so many products a second need, each with a text and a picture that nobody has seen."""
    core = {name: per_second / cost.rows_per_core_second for name, cost in costs.items()}
    day = 86_400 * per_second
    return {
        "products a second": per_second,
        "products a day, millions": day / 1e6,
        "cores of text workers": core["text worker"] + core["consume, catalogs"],
        "cores of picture workers": core["picture worker"],
        # Both modalities bring a message of scores, and each is joined.
        "cores of fusion workers": 2 * core["fusion worker, answers"],
        "cores of feeding": core["insert catalog rows"]
        + core["publish, catalogs"]
        + core["store a picture (a folder)"],
        "cores of PostgreSQL": core["PostgreSQL, insert catalog rows"]
        + 2 * core["PostgreSQL, fusion worker, answers"],
        # Text, picture and two messages of scores.
        "cores of Redis (one is all it has)": 4 * core["Redis, catalogs"],
        "PostgreSQL, GB a day": day * sizes["bytes of PostgreSQL a job that is done"] / 1e9,
        "its log, MB a second": per_second * sizes["bytes of its log a job"] / 1e6,
        "pictures, GB a day": day * sizes["bytes of a picture"] / 1e9,
    }


def show(plans: Sequence[dict[str, float]]) -> None:
    """Print the plans side by side."""
    print("\nEach product with a text and a new picture, as catalogs")
    for name in plans[0]:
        print(f"{name:<38}" + "".join(f"{one[name]:>12,.2f}" for one in plans))


# What is measured with


@dataclass(frozen=True)
class Stopwatch:
    """A start: the clock, the processor time so far, and how to read it again."""

    started: float
    before: float
    read: Any

    @classmethod
    def here(cls) -> "Stopwatch":
        """Of this process, all its threads."""
        return cls(time.perf_counter(), time.process_time(), time.process_time)

    @classmethod
    def of_redis(cls, client: redis.Redis) -> "Stopwatch":
        """Of a Redis server, as it says itself."""

        def read() -> float:
            said: Any = client.info("cpu")
            return float(said["used_cpu_user"]) + float(said["used_cpu_sys"])

        return cls(time.perf_counter(), read(), read)

    @classmethod
    def of_tree(cls, process: psutil.Process) -> "Stopwatch":
        """Of a process and all below it; those that end meanwhile are missed."""

        def read() -> float:
            return sum(map(_cpu, [process, *process.children(recursive=True)]))

        return cls(time.perf_counter(), read(), read)

    def cost(self, count: int) -> Cost:
        """What was spent since."""
        return Cost(count, time.perf_counter() - self.started, max(self.read() - self.before, 1e-9))


def text_message(products: Sequence[Product]) -> ScoreText:
    """A message of texts as a catalog's are."""
    items = tuple(
        TextItem(job_id=new_id(), designation=one.designation, description=one.description)
        for one in products
    )
    return ScoreText(trace_id=TRACE, lane=Lane.CATALOG, release="1", items=items)


def image_message(uris: Sequence[str]) -> ScoreImage:
    """A message of pictures as a catalog's are."""
    items = tuple(ImageItem(job_id=new_id(), uri=uri) for uri in uris)
    return ScoreImage(trace_id=TRACE, lane=Lane.CATALOG, release="1", items=items)


def _for(message: ModalityScored, ids: Sequence[str]) -> ModalityScored:
    """The same scores, of other jobs."""
    items = tuple(
        ModalityScore(job_id=id_, probabilities=item.probabilities)
        for id_, item in zip(ids, message.items, strict=True)
    )
    return message.model_copy(update={"items": items})


def _slices(things: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(things), size):
        yield things[start : start + size]


def _around(things: Sequence[Product]) -> Iterator[Product]:
    while True:
        yield from things


def _cpu(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def _memory(client: redis.Redis) -> float:
    said: Any = client.info("memory")
    return float(said["used_memory"])


def _log_position(engine: Engine) -> float:
    with engine.connect() as connection:
        return float(
            connection.scalar(text("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')")) or 0
        )


def _size(engine: Engine) -> float:
    with engine.connect() as connection:
        query = "SELECT pg_total_relation_size('jobs') + pg_total_relation_size('scores')"
        return float(connection.scalar(text(query)) or 0)


def _until(condition: Any, what: str) -> None:
    deadline = time.monotonic() + CONSUME_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"Not within {CONSUME_SECONDS:.0f} s: {what}")
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
