"""The three workers as in production, with a tiny release and without a model registry."""

import io
import json
import os
from pathlib import Path

import pytest
from PIL import Image

from shared.broker import Broker
from shared.contracts import ImageItem, Lane, ScoreImage, ScoreText, TextItem
from shared.db.models import Job, User
from shared.db.session import UnitOfWork
from shared.settings import StorageSettings
from shared.storage import Storage, digest_in
from tests.integration.conftest import Workers
from tests.support.expensive_images import long_line_bmp
from tests.support.factories import make_job, make_user
from tests.support.servers import free_port, until
from tests.support.tiny_release import TINY_EXTRACTOR, write_tiny_release

START_SECONDS = 60
#: Expensive images of one user; the worker of these tests has four threads.
FLOOD = 24
MODULES = ("worker_text.main", "worker_image.main", "worker_fusion.main")


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(StorageSettings(url=str(tmp_path / "storage")))


@pytest.fixture
def system(workers: Workers, broker: Broker, database_url: str, tmp_path: Path) -> Workers:
    """Start all workers with the release in their cache and no registry at its address."""
    write_tiny_release(tmp_path / "releases" / "1", in_two_steps=True)
    workers.environment |= {
        "RAYON_DATABASE_URL": database_url,
        "RAYON_STORAGE_URL": str(tmp_path / "storage"),
        "RAYON_RELEASES_CACHE": str(tmp_path / "releases"),
        "RAYON_RELEASES_MLFLOW_URL": f"http://127.0.0.1:{free_port()}",
    }
    for module in MODULES:
        workers.start(module)
    until(lambda: len(broker.workers()) == len(MODULES), START_SECONDS, "all workers are present")
    return workers


@pytest.fixture
def bright(storage: Storage) -> str:
    """Return the address of an image that the tiny model assigns to category 2583."""
    stream = io.BytesIO()
    Image.new("RGB", (400, 300), "white").save(stream, "JPEG")
    return storage.put("images", stream.getvalue())


def finish(unit_of_work: UnitOfWork, *ids: str) -> list[Job]:
    def read() -> list[Job]:
        with unit_of_work.reading() as session:
            found = session.query(Job).where(Job.id.in_(ids)).all()
        return sorted(found, key=lambda job: ids.index(job.id))

    until(
        lambda: all(job.status != "queued" for job in read()),
        START_SECONDS,
        "the jobs have finished",
    )
    return read()


def submit(unit_of_work: UnitOfWork, broker: Broker, lane: Lane, release: str, *jobs: Job) -> None:
    """Store rows and then send messages, as the gateway does."""
    texts = tuple(
        TextItem(job_id=job.id, designation=job.designation, description="")
        for job in jobs
        if job.wants_text
    )
    images = tuple(
        ImageItem(job_id=job.id, uri=job.image_uri) for job in jobs if job.image_uri is not None
    )
    with UnitOfWork(unit_of_work.engine, broker)() as work:
        work.session.add_all(jobs)
        head = {
            "trace_id": "a" * 32,
            "lane": lane,
            "release": release,
            "user_id": jobs[0].user_id,
        }
        if texts:
            work.publish(ScoreText.model_validate({**head, "items": texts}))
        if images:
            work.publish(ScoreImage.model_validate({**head, "items": images}))


@pytest.mark.usefixtures("system")
def test_products_are_classified_or_fail_with_a_reason(
    unit_of_work: UnitOfWork, broker: Broker, user: User, storage: Storage, bright: str
) -> None:
    broken = storage.put("images", b"not an image")
    product = {"image_uri": bright, "wants_image": True, "designation": "piscine"}
    both = make_job(user, **product)
    text = make_job(user, designation="piscine ronde avec pompe et filtre et echelle")
    image = make_job(user, **{**product, "wants_text": False})
    degraded = make_job(user, **{**product, "image_uri": broken})
    failed = make_job(user, **{**product, "image_uri": broken, "wants_text": False})
    missing = make_job(user, **{**product, "image_uri": "images/00/00", "wants_text": False})
    jobs = (both, text, image, degraded, failed, missing)
    submit(unit_of_work, broker, Lane.CATALOG, "1", *jobs)
    found = finish(unit_of_work, *(job.id for job in jobs))
    assert [job.status for job in found] == ["done"] * 4 + ["failed"] * 2
    assert [job.prdtypecode for job in found[1:4]] == [2583, 2583, 10]
    assert found[0].result is not None
    assert found[0].result["modalities"].keys() == {"text", "image"}
    assert found[3].result is not None
    assert found[3].result["degraded"] == "image_unreadable"
    assert [job.error_code for job in found[4:]] == ["image_unreadable", "image_missing"]


@pytest.mark.usefixtures("system")
def test_known_image_is_classified_from_its_stored_features(
    unit_of_work: UnitOfWork, broker: Broker, user: User, storage: Storage, bright: str
) -> None:
    # Given an image that was scored and then deleted
    first, again = (
        make_job(user, image_uri=bright, wants_image=True, wants_text=False) for _ in "ab"
    )
    submit(unit_of_work, broker, Lane.INTERACTIVE, "1", first)
    finish(unit_of_work, first.id)
    kept = f"features/{TINY_EXTRACTOR.extractor}/{(digest_in(bright) or '')[:2]}"
    until(lambda: bool(storage.files(kept)), START_SECONDS, "the features are kept")
    storage.remove(bright)
    # When it is submitted again
    submit(unit_of_work, broker, Lane.INTERACTIVE, "1", again)
    # Then the stored features suffice
    (found,) = finish(unit_of_work, again.id)
    assert (found.status, found.prdtypecode) == ("done", 2583)


# The lane is in Redis, so one database is enough.
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.usefixtures("system")
def test_user_who_floods_the_lane_with_expensive_images_delays_nobody(
    unit_of_work: UnitOfWork, broker: Broker, user: User, storage: Storage, bright: str
) -> None:
    # Given a user who sent images that take all the time that they may
    flood = [
        make_job(
            user,
            image_uri=storage.put("images", long_line_bmp(number=number)),
            wants_image=True,
            wants_text=False,
        )
        for number in range(FLOOD)
    ]
    for job in flood:
        submit(unit_of_work, broker, Lane.INTERACTIVE, "1", job)

    # When another user sends a photo
    other = make_user("bea")
    with unit_of_work() as work:
        work.session.add(other)
    photo = make_job(other, image_uri=bright, wants_image=True, wants_text=False)
    submit(unit_of_work, broker, Lane.INTERACTIVE, "1", photo)

    # Then it is scored while most of the others wait
    (found,) = finish(unit_of_work, photo.id)
    assert (found.status, found.prdtypecode) == ("done", 2583)
    with unit_of_work.reading() as session:
        states = [session.get_one(Job, job.id) for job in flood]
    assert sum(job.status == "queued" for job in states) > FLOOD // 2

    # And the expensive ones fail at their limit
    until(
        lambda: broker.depth("image.interactive").waiting < FLOOD // 2,
        START_SECONDS,
        "some of the expensive images are refused",
    )
    with unit_of_work.reading() as session:
        failed = [job for job in (session.get_one(Job, job.id) for job in flood) if job.error_code]
    assert {job.error_code for job in failed} == {"image_unreadable"}


def test_worker_announces_a_release_after_its_first_use(
    system: Workers, unit_of_work: UnitOfWork, broker: Broker, user: User
) -> None:
    job = make_job(user)
    submit(unit_of_work, broker, Lane.INTERACTIVE, "1", job)
    assert [found.status for found in finish(unit_of_work, job.id)] == ["done"]
    until(
        lambda: (
            [worker.releases for worker in broker.workers() if "text" in worker.name] == [("1",)]
        ),
        START_SECONDS,
        "the text worker announces its release",
    )


def test_worker_consumes_only_its_lanes(workers: Workers, broker: Broker, tmp_path: Path) -> None:
    write_tiny_release(tmp_path / "releases" / "1")
    workers.start(
        "worker_text.main",
        RAYON_WORKER_LANES=json.dumps(["interactive"]),
        RAYON_RELEASES_CACHE=str(tmp_path / "releases"),
        RAYON_RELEASES_MLFLOW_URL=f"http://127.0.0.1:{free_port()}",
    )
    until(lambda: bool(broker.workers()), START_SECONDS, "the worker is present")
    for lane in Lane:
        item = TextItem(job_id=lane.value, designation="piscine", description="")
        broker.publish(ScoreText(trace_id="a" * 32, lane=lane, release="1", items=(item,)))
    until(
        lambda: broker.depth("fusion.interactive").waiting == 1,
        START_SECONDS,
        "the message of its lane is done",
    )
    assert broker.depth("text.catalog").waiting == 1
    assert broker.depth("fusion.catalog").waiting == 0


@pytest.mark.parametrize("module", MODULES)
def test_every_thread_of_a_worker_has_its_priority(
    workers: Workers, broker: Broker, tmp_path: Path, module: str
) -> None:
    write_tiny_release(tmp_path / "releases" / "1", in_two_steps=True)
    started = workers.start(
        module,
        RAYON_WORKER_NICENESS="5",
        RAYON_DATABASE_URL=f"sqlite:///{tmp_path / 'rayon.db'}",
        RAYON_STORAGE_URL=str(tmp_path / "storage"),
        RAYON_RELEASES_CACHE=str(tmp_path / "releases"),
        RAYON_RELEASES_MLFLOW_URL=f"http://127.0.0.1:{free_port()}",
    )
    until(lambda: bool(broker.workers()), START_SECONDS, "the worker is present")
    own = os.getpriority(os.PRIO_PROCESS, 0)
    threads = [int(thread.name) for thread in Path(f"/proc/{started.pid}/task").iterdir()]
    assert len(threads) > 1
    assert {os.getpriority(os.PRIO_PROCESS, thread) for thread in threads} == {own + 5}
