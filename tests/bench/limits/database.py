"""Cost of inserting and answering jobs on PostgreSQL."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
from pydantic import SecretStr
from sqlalchemy import Engine, func, select, text, update

from gateway.catalogs import slices as catalog_slices
from gateway.jobs.messages import messages_of
from gateway.jobs.outbox import LARGEST_GROUP
from shared.contracts import Lane, ModalityScore, ModalityScored
from shared.db.migrations.upgrade import upgrade
from shared.db.models import Catalog, CatalogStatus, Job, JobStatus, User, new_id, now
from shared.db.session import UnitOfWork, open_engine
from shared.settings import DatabaseSettings
from tests.bench.limits.products import TEXT_SLICE, TRACE, Product, slices
from tests.bench.limits.stopwatch import Cost, Stopwatch
from tests.support.factories import make_job, make_user
from tests.support.fakes import FakeBroker, FolderReleases
from tests.support.servers import new_database, postgres_server
from worker_fusion.join import Fusions, Join


def measure_database(
    folder: Path,
    registry: FolderReleases,
    products: Sequence[Product],
    scored: Sequence[ModalityScored],
) -> tuple[dict[str, Cost], dict[str, float]]:
    """Insert jobs on PostgreSQL and finish them with their scores.

    Returns:
        Cost of each step for the client and for the server, and bytes of storage per job.
    """
    server_folder = folder / "postgres"
    server_folder.mkdir()
    costs: dict[str, Cost] = {}
    sizes: dict[str, float] = {}
    with ExitStack() as stack:
        server = stack.enter_context(postgres_server(server_folder))
        url = stack.enter_context(new_database(server))
        upgrade(url)
        engine = open_engine(DatabaseSettings(url=SecretStr(url)))
        stack.callback(engine.dispose)
        unit_of_work = UnitOfWork(engine, FakeBroker())
        postmaster = psutil.Process(server.get_postmaster_info().pid)
        user = make_user()
        with unit_of_work() as work:
            work.session.add(user)
        with measured(engine, postmaster, len(products), costs, "insert single jobs"):
            insert_singles(unit_of_work, user, products)
        with unit_of_work() as work:
            work.session.execute(update(Job).values(status=JobStatus.CANCELLED.value))
        size_before = _size(engine)
        with measured(engine, postmaster, len(products), costs, "insert catalog rows") as log:
            ids = insert_catalog(unit_of_work, user, products)
        insert_log_bytes = log["bytes"]
        join = Join(unit_of_work, Fusions(registry))
        with measured(engine, postmaster, len(products), costs, "fusion worker, answers") as log:
            for message, part in zip(scored, slices(ids, TEXT_SLICE), strict=True):
                join.on_modality_scored(_for_jobs(message, part))
        with unit_of_work.reading() as session:
            done = session.scalar(select(func.count()).where(Job.status == JobStatus.DONE.value))
        if done != len(products):
            raise SystemExit(f"Expected {len(products)} finished jobs. Received: {done}")
        sizes["bytes of PostgreSQL per finished job"] = (_size(engine) - size_before) / len(
            products
        )
        sizes["bytes of its log per job"] = (insert_log_bytes + log["bytes"]) / len(products)
    return costs, sizes


def insert_singles(unit_of_work: UnitOfWork, user: User, products: Sequence[Product]) -> None:
    """Insert single jobs in groups, as the gateway does with simultaneous requests."""
    for part in slices(products, LARGEST_GROUP):
        jobs = [
            make_job(user, designation=product.designation, description=product.description)
            for product in part
        ]
        with unit_of_work() as work:
            work.session.add_all(jobs)
            for message in messages_of(jobs):
                work.publish(message)


def insert_catalog(unit_of_work: UnitOfWork, user: User, products: Sequence[Product]) -> list[str]:
    """Insert the rows of a catalog slice by slice as the feeder does; return the job ids."""
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
    for part in slices(products, TEXT_SLICE):
        jobs = [_values(catalog, product) for product in part]
        with unit_of_work() as work:
            catalog_slices.add(work, catalog, jobs)
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
def measured(
    engine: Engine, server: psutil.Process, count: int, into: dict[str, Cost], name: str
) -> Iterator[dict[str, float]]:
    """Measure the CPU time of the client and the server in a block, and the growth of the log.

    The costs are added to `into`; the yielded dictionary receives `bytes`, the growth of the
    server's write-ahead log.
    """
    log: dict[str, float] = {}
    position = _log_position(engine)
    client_watch, server_watch = Stopwatch.here(), Stopwatch.of_tree(server)
    yield log
    into[name] = client_watch.cost(count)
    into[f"PostgreSQL, {name}"] = server_watch.cost(count)
    log["bytes"] = _log_position(engine) - position


def _for_jobs(message: ModalityScored, ids: Sequence[str]) -> ModalityScored:
    """Return a copy of the scores that belongs to other jobs."""
    items = tuple(
        ModalityScore(job_id=id_, probabilities=item.probabilities)
        for id_, item in zip(ids, message.items, strict=True)
    )
    return message.model_copy(update={"items": items})


def _log_position(engine: Engine) -> float:
    with engine.connect() as connection:
        return float(
            connection.scalar(text("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')")) or 0
        )


def _size(engine: Engine) -> float:
    with engine.connect() as connection:
        query = "SELECT pg_total_relation_size('jobs') + pg_total_relation_size('scores')"
        return float(connection.scalar(text(query)) or 0)
