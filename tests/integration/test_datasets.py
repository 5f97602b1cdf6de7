"""Datasets from the upload to a ready version, with real tables and files."""

import io
import threading
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import event, select

from gateway.identity.principal import Origin, Principal
from gateway.releases.datasets import Change, Datasets
from shared.db.models import DatasetVersion, Job, Review, Role, User, new_id, now
from shared.db.session import UnitOfWork
from shared.errors import Conflict, Unavailable
from shared.settings import StorageSettings
from shared.storage import Storage
from tests.support.factories import make_job, make_user
from trainer.datasets import check_queue
from trainer.datasets.check_queue import MAX_ATTEMPTS, ORPHAN_SECONDS, DatasetChecks, LabelledJobs
from trainer.datasets.versions import load_version

ORIGIN = Origin(None, None, "0" * 32)
OLGA = Principal(new_id(), "olga", Role.OPERATOR, "session")


@pytest.fixture(autouse=True)
def olga(unit_of_work: UnitOfWork) -> User:
    """Return an operator, whose labels are trusted."""
    olga = make_user("olga", id=OLGA.id, role=Role.OPERATOR.value)
    with unit_of_work() as work:
        work.session.add(olga)
    return olga


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(StorageSettings(url=str(tmp_path / "files")))


@pytest.fixture
def datasets(unit_of_work: UnitOfWork, storage: Storage) -> Datasets:
    return Datasets(unit_of_work, storage)


@pytest.fixture
def checks(unit_of_work: UnitOfWork, storage: Storage, tmp_path: Path) -> DatasetChecks:
    return DatasetChecks(unit_of_work, storage, tmp_path / "work")


def products(rows: int = 30) -> io.BytesIO:
    lines = [f"p{i},produit {i},{i}.png,{10 + i % 2}" for i in range(rows)]
    return io.BytesIO("\n".join(["id,designation,image,prdtypecode", *lines]).encode())


def images(rows: int = 3) -> io.BytesIO:
    image, content = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (4, 3), "red").save(image, "PNG")
    with zipfile.ZipFile(content, "w") as archive:
        for row in range(rows):
            archive.writestr(f"{row}.png", image.getvalue())
    content.seek(0)
    return content


def upload(datasets: Datasets, **files: io.BytesIO) -> DatasetVersion:
    return datasets.create(OLGA, "shop", Change(files or {"products": products()}), ORIGIN)


def show(unit_of_work: UnitOfWork, version: int = 1) -> Any:
    with unit_of_work.reading() as session:
        return session.query(DatasetVersion).filter_by(version=version).one()


def expire_leases(unit_of_work: UnitOfWork) -> None:
    with unit_of_work() as work:
        for version in work.session.query(DatasetVersion).all():
            version.leased_until = now() - timedelta(seconds=1)


def files_of(tmp_path: Path, folder: str) -> list[Path]:
    return [path for path in (tmp_path / "files" / folder).rglob("*") if path.is_file()]


def test_valid_upload_becomes_a_ready_version(
    datasets: Datasets, checks: DatasetChecks, storage: Storage, tmp_path: Path
) -> None:
    upload(datasets, products=products(), images=images())
    checks.run_pending()
    version = show(checks.unit_of_work)
    assert (version.status, version.rows, version.classes, version.images) == ("ready", 30, 2, 3)
    # The name of the field is part of the API.
    assert version.report["pictures"] == version.images
    assert version.report["findings"][0]["code"] == "missing_pictures"
    data = load_version(storage, "shop", 1, tmp_path / "cache")
    assert data.fingerprint == version.fingerprint
    assert len(data.part("train", "validation", "test", image=True)) == 3
    assert files_of(tmp_path, "uploads") == []
    assert list((tmp_path / "work").iterdir()) == []


def test_next_version_has_removed_rows_left_out_and_labelled_jobs_added(
    datasets: Datasets, checks: DatasetChecks, storage: Storage, user: User, tmp_path: Path
) -> None:
    upload(datasets)
    checks.run_pending()
    unlabelled, labelled = (
        make_job(user),
        make_job(user, designation="Bouée", label=10, labelled_at=now(), labelled_by_id=OLGA.id),
    )
    with checks.unit_of_work() as work:
        work.session.add_all([unlabelled, labelled])
    change = Change({}, remove=["p0"], corrected=True)
    assert datasets.add(OLGA, "shop", change, ORIGIN).version == 2
    with pytest.raises(Conflict, match="being validated"):
        datasets.add(OLGA, "shop", change, ORIGIN)
    checks.run_pending()
    assert (show(checks.unit_of_work, 2).status, show(checks.unit_of_work, 2).rows) == ("ready", 30)
    ids = set(load_version(storage, "shop", 2, tmp_path).rows["id"])
    assert f"job-{labelled.id}" in ids
    assert not {"p0", f"job-{unlabelled.id}"} & ids
    assert "p0" in set(load_version(storage, "shop", 1, tmp_path).rows["id"])


@pytest.fixture
def statements(unit_of_work: UnitOfWork) -> Iterator[list[tuple[str, bool]]]:
    """Collect each SQL statement, with True for one in a read-only transaction."""
    found: list[tuple[str, bool]] = []

    def note(connection: Any, _cursor: Any, statement: str, *_others: Any) -> None:
        options = connection.get_execution_options()
        found.append((statement, options.get("rayon_read_only", False)))

    event.listen(unit_of_work.engine, "before_cursor_execute", note)
    yield found
    event.remove(unit_of_work.engine, "before_cursor_execute", note)


def add_labelled_jobs(unit_of_work: UnitOfWork, user: User, count: int) -> list[str]:
    jobs = [
        make_job(user, designation=f"Bouée {n}", label=10, labelled_by_id=OLGA.id)
        for n in range(count)
    ]
    ids = [job.id for job in jobs]
    with unit_of_work() as work:
        for number, job in enumerate(jobs):
            # The order of the labels is the reverse of the order of the ids.
            job.labelled_at = now() - timedelta(seconds=number)
        work.session.add_all(jobs)
    return sorted(ids)


def test_labelled_jobs_are_read_in_a_read_only_transaction(
    datasets: Datasets, checks: DatasetChecks, user: User, statements: list[tuple[str, bool]]
) -> None:
    add_labelled_jobs(checks.unit_of_work, user, 1)
    upload(datasets)
    checks.run_pending()
    datasets.add(OLGA, "shop", Change({}, corrected=True), ORIGIN)
    statements.clear()
    checks.run_pending()
    assert show(checks.unit_of_work, 2).rows == 31
    read_only = [flag for statement, flag in statements if "FROM jobs" in statement]
    assert read_only
    assert all(read_only)


def test_labelled_jobs_are_read_in_slices_ordered_by_id(
    unit_of_work: UnitOfWork,
    user: User,
    statements: list[tuple[str, bool]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(check_queue, "SLICE", 2)
    ids = add_labelled_jobs(unit_of_work, user, 5)
    statements.clear()
    assert [job.id for job in LabelledJobs(unit_of_work)] == ids
    assert sum("designation" in statement for statement, _ in statements) == 3


def test_labels_of_drawn_answers_stand_for_those_that_were_not_drawn(
    unit_of_work: UnitOfWork, user: User
) -> None:
    ids = add_labelled_jobs(unit_of_work, user, 3)
    open_job = make_job(user)
    with unit_of_work() as work:
        work.session.add(open_job)
        for job in work.session.scalars(select(Job).where(Job.id.in_(ids))):
            job.finished_at = datetime(2026, 1, 2, tzinfo=UTC)
    with unit_of_work() as work:
        work.session.add_all(
            Review(job_id=id_, reason=reason, chance=0.55, random_chance=0.1)
            for id_, reason in ((ids[0], "random"), (open_job.id, "random"), (ids[1], "uncertain"))
        )
    found = {job.id: job for job in LabelledJobs(unit_of_work)}
    # One of two random answers is labelled, and each uncertain one: .1 / 2 + .45.
    assert [found[id_].represents for id_ in ids[:2]] == pytest.approx([2, 2])
    assert found[ids[2]].represents == 0
    answered_at = datetime(2026, 1, 2, tzinfo=UTC).timestamp()
    assert [found[id_].answered_at for id_ in ids] == [answered_at] * 3


def test_labelled_jobs_are_found_by_the_index_of_labels(
    unit_of_work: UnitOfWork, user: User, statements: list[tuple[str, bool]]
) -> None:
    if unit_of_work.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL plans by the number of rows")
    add_labelled_jobs(unit_of_work, user, 1)
    statements.clear()
    [*LabelledJobs(unit_of_work)]
    queries = [statement for statement, _ in statements if "FROM jobs" in statement]
    with unit_of_work.engine.connect() as connection:
        plans = [
            connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN {query}", ("x",) * query.count("?")
            ).all()[0][3]
            for query in queries
        ]
    assert "USING INDEX ix_jobs_labelled_at" in plans[0].replace("COVERING ", "")
    assert all(plan.startswith("SEARCH") for plan in plans)


def test_invalid_data_fail_with_a_report_and_leave_no_files(
    datasets: Datasets, checks: DatasetChecks, tmp_path: Path
) -> None:
    upload(datasets, products=io.BytesIO(b"designation,prdtypecode\na,dix\nb,20\n"))
    checks.run_pending()
    version = show(checks.unit_of_work)
    assert (version.status, version.fingerprint) == ("failed", None)
    assert "'dix' in line 2 (row 0)" in version.message
    assert version.report["findings"][0]["rows"] == [0]
    assert files_of(tmp_path, "") == []


def test_killed_check_is_repeated_after_its_lease(
    datasets: Datasets, checks: DatasetChecks
) -> None:
    upload(datasets)
    with checks.unit_of_work() as work:
        version = work.session.query(DatasetVersion).one()
        version.leased_until, version.attempts = now() + timedelta(seconds=60), 1
    checks.run_pending()
    assert show(checks.unit_of_work).status == "checking"
    expire_leases(checks.unit_of_work)
    checks.run_pending()
    assert (show(checks.unit_of_work).status, show(checks.unit_of_work).attempts) == ("ready", 2)


def test_check_fails_after_its_last_attempt(datasets: Datasets, checks: DatasetChecks) -> None:
    upload(datasets)
    with checks.unit_of_work() as work:
        work.session.query(DatasetVersion).one().attempts = MAX_ATTEMPTS
    checks.run_pending()
    version = show(checks.unit_of_work)
    assert (version.status, "memory" in version.message) == ("failed", True)


def test_check_is_retried_while_the_storage_is_unavailable(
    datasets: Datasets, checks: DatasetChecks, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise Unavailable("The storage is full")

    upload(datasets)
    with monkeypatch.context() as patch:
        patch.setattr(Storage, "put_at", full)
        # A storage may be away for longer than the attempts of a check that ends its process.
        for _ in range(MAX_ATTEMPTS + 1):
            checks.run_pending()
            expire_leases(checks.unit_of_work)
    assert (show(checks.unit_of_work).status, show(checks.unit_of_work).message) == (
        "checking",
        "The storage is full",
    )
    checks.run_pending()
    assert (show(checks.unit_of_work).status, show(checks.unit_of_work).message) == ("ready", None)


def test_check_waits_for_room_on_the_disk_and_leaves_no_files(
    datasets: Datasets, checks: DatasetChecks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    upload(datasets)
    before = files_of(tmp_path, "")
    with monkeypatch.context() as patch:
        patch.setattr("pyarrow.parquet.write_table", full)
        checks.run_pending()
    version = show(checks.unit_of_work)
    assert (version.status, "disk is full" in version.message) == ("checking", True)
    assert files_of(tmp_path, "") == before
    assert list((tmp_path / "work").iterdir()) == []
    expire_leases(checks.unit_of_work)
    checks.run_pending()
    assert show(checks.unit_of_work).status == "ready"


def test_stopped_service_leaves_the_check_to_the_next_start(
    unit_of_work: UnitOfWork, datasets: Datasets, checks: DatasetChecks
) -> None:
    upload(datasets)
    stopping = threading.Event()
    ending = DatasetChecks(unit_of_work, checks.storage, checks.work_folder, stopping)
    copy = checks.storage.copy_to

    def stop_and_copy(uri: str, path: Path) -> None:
        stopping.set()
        copy(uri, path)

    ending.storage.copy_to = stop_and_copy  # type: ignore[method-assign]
    ending.run_pending()
    version = show(unit_of_work)
    assert (version.status, version.attempts, version.leased_until) == ("checking", 0, None)
    checks.run_pending()
    assert show(unit_of_work).status == "ready"


def test_concurrent_uploads_create_one_dataset(datasets: Datasets, tmp_path: Path) -> None:
    start = threading.Barrier(2)
    outcomes: list[object] = []

    def send() -> None:
        start.wait()
        try:
            outcomes.append(upload(datasets).version)
        except Conflict as error:
            outcomes.append(error)

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert min(map(str, outcomes)) == "1"
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 1
    assert len(files_of(tmp_path, "uploads")) == 1


def test_orphaned_uploads_are_removed_after_a_delay(
    datasets: Datasets, checks: DatasetChecks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = upload(datasets)
    checks.storage.put_at(f"uploads/{new_id()}/products.csv", b"left by a crash")
    checks.remove_orphans()
    assert len(files_of(tmp_path, "uploads")) == 2
    monkeypatch.setattr("trainer.datasets.check_queue.ORPHAN_SECONDS", -1.0)
    assert ORPHAN_SECONDS > 3600
    checks.remove_orphans()
    assert [path.parent.name for path in files_of(tmp_path, "uploads")] == [known.id]
