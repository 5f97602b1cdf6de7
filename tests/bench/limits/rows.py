"""Cost of inserting and answering jobs on PostgreSQL."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
from pydantic import SecretStr
from sqlalchemy import Engine, func, select, text, update

from gateway.catalogs import slices as catalog_slices
from gateway.jobs.service import LARGEST_GROUP, messages_of
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
            for message, part in zip(scored, slices(ids, TEXT_SLICE), strict=True):
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
    for part in slices(products, LARGEST_GROUP):
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
    for part in slices(products, TEXT_SLICE):
        jobs = [_values(catalog, one) for one in part]
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


def _for(message: ModalityScored, ids: Sequence[str]) -> ModalityScored:
    """The same scores, of other jobs."""
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
