"""Datasets: uploaded here, validated and stored by the trainer."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from io import SEEK_END
from itertools import groupby
from typing import BinaryIO

import structlog
from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, defer

from gateway.identity import audit_log
from gateway.identity.principal import Origin, Principal
from shared.contracts import DatasetUploaded
from shared.db.datasets import folder_of, parse, upload_folder
from shared.db.models import DatasetStatus, DatasetVersion, TrainingRun, TrainingStatus, new_id
from shared.db.session import UnitOfWork
from shared.errors import Conflict, InvalidInput, NotFound, RayonError
from shared.storage import Storage
from shared.tables.dataset_tables import (
    CATEGORIES,
    LABELS,
    PRODUCTS,
    dataset_form,
    require_labels,
)
from shared.tables.unpack import kind_of

log = structlog.get_logger(__name__)

#: Form fields of the uploaded files, and the names under which they are stored until validation.
FILES = {
    "products": "products.csv",
    "labels": "labels.csv",
    "images": "images.zip",
    "categories": "categories.csv",
}
#: Files that are tables.
_TABLES = (PRODUCTS, LABELS, CATEGORIES)
#: Packed tables up to this size are read while the sender waits, larger ones only by the trainer,
#: and the size that they may unpack to.
_EAGER_BYTES, _EAGER_UNPACKED_BYTES = 2 * 1024**2, 128 * 1024**2
_UNFINISHED = (TrainingStatus.QUEUED.value, TrainingStatus.RUNNING.value)


@dataclass(frozen=True)
class Change:
    """The content of a new version.

    Attributes:
        files: Uploaded files by their keys in `FILES`, each read once from its position.
        remove: IDs of rows of the previous version to leave out.
        corrected: True to add labelled jobs.
    """

    files: Mapping[str, BinaryIO]
    remove: Sequence[str] = ()
    corrected: bool = False


@dataclass(frozen=True)
class Datasets:
    """Accepts, shows and deletes datasets."""

    unit_of_work: UnitOfWork
    storage: Storage

    def create(
        self, principal: Principal, name: str, change: Change, origin: Origin
    ) -> DatasetVersion:
        """Accept the first version of a dataset; the trainer validates it later.

        Raises:
            InvalidInput: The name is invalid, `products` is missing, or a file is not a table or
                lacks a column.
            Conflict: The dataset exists. One whose versions all failed may be uploaded again.
            Unavailable: The storage or the database does not answer; nothing was stored.
        """
        _require_name(name)
        if "products" not in change.files:
            raise InvalidInput("Expected a table. Received: none", field=("products",))
        return self._store_upload(principal, name, change, origin, is_first=True)

    def add(
        self, principal: Principal, name: str, change: Change, origin: Origin
    ) -> DatasetVersion:
        """Create a version from the latest ready one, which stays unchanged.

        Raises:
            InvalidInput: The request contains no change, or a file is not a table or lacks a
                column.
            NotFound: The dataset does not exist.
            Conflict: No version is ready, or another version is being validated.
            Unavailable: The storage or the database does not answer; nothing was stored.
        """
        if not (change.remove or change.corrected or "products" in change.files):
            raise InvalidInput(
                "Expected `products`, `remove` or `labels=corrected`. Received: none of them",
                field=("products",),
            )
        return self._store_upload(principal, name, change, origin, is_first=False)

    def delete(self, principal: Principal, name: str, origin: Origin) -> None:
        """Delete a dataset with all its versions.

        Raises:
            NotFound: The dataset does not exist.
            Conflict: A training run uses it, or a version is being validated.
            Unavailable: The storage does not answer. Files may be left; a repeated call continues.
        """
        with self.unit_of_work() as work:
            versions = _locked(work.session, name)
            if not versions:
                raise NotFound(f"No dataset {name!r}")
            if any(one.status == DatasetStatus.CHECKING.value for one in versions):
                raise Conflict(f"A version of {name!r} is being validated")
            run = work.session.scalar(
                select(TrainingRun.id).where(TrainingRun.status.in_(_UNFINISHED), _uses(name))
            )
            if run is not None:
                raise Conflict(f"The training run {run} uses {name!r}")
            for version in versions:
                version.status = DatasetStatus.DELETING.value
            audit_log.record(
                work.session, origin, "dataset.delete", actor=principal.username, target=name
            )
        # Files are deleted before rows: files without rows would stay forever, whereas a repeated
        # call deletes rows without files.
        self.storage.remove_folder(folder_of(name))
        with self.unit_of_work() as work:
            for version in _locked(work.session, name):
                work.session.delete(version)

    def _store_upload(
        self, principal: Principal, name: str, change: Change, origin: Origin, *, is_first: bool
    ) -> DatasetVersion:
        with self.unit_of_work.reading() as session:
            # Checked here too, before gigabytes are stored in vain.
            _next(_of(session, name), name, is_first)
        for kind in _TABLES:
            if kind in change.files:
                _require_table(change.files[kind], kind, has_labels=LABELS in change.files)
        id_ = new_id()
        try:
            size = sum(
                self.storage.put_stream(f"{upload_folder(id_)}/{FILES[kind]}", stream)
                for kind, stream in change.files.items()
            )
            return self._record(id_, principal, name, change, origin, is_first, size)
        except BaseException:
            self._delete_upload(id_)
            raise

    def _record(
        self,
        id_: str,
        principal: Principal,
        name: str,
        change: Change,
        origin: Origin,
        is_first: bool,
        size: int,
    ) -> DatasetVersion:
        try:
            with self.unit_of_work() as work:
                number, base = _next(_locked(work.session, name), name, is_first)
                version = DatasetVersion(
                    id=id_,
                    name=name,
                    version=number,
                    created_by=principal.username,
                    size=size,
                    asked={
                        "base": base,
                        "files": sorted(change.files),
                        "remove": list(change.remove),
                        "corrected": change.corrected,
                    },
                )
                work.session.add(version)
                work.session.flush()
                audit_log.record(
                    work.session,
                    origin,
                    "dataset.send",
                    actor=principal.username,
                    target=version.reference,
                )
                work.publish(DatasetUploaded(trace_id=origin.trace_id, version_id=id_))
        except IntegrityError as error:
            raise Conflict(f"Another version of {name!r} was uploaded at the same time") from error
        return version

    def _delete_upload(self, id_: str) -> None:
        try:
            self.storage.remove_folder(upload_folder(id_))
        except RayonError as error:
            log.warning("upload_left_behind", id=id_, error=error.detail)


def _require_table(stream: BinaryIO, kind: str, *, has_labels: bool) -> None:
    """Check the columns of an uploaded table, and return to its beginning.

    Args:
        stream: The table.
        kind: Key of `FILES`.
        has_labels: True if the labels are in a file of their own.

    Raises:
        InvalidInput: The file is not a table, or lacks a column.
    """
    if kind_of(stream, kind) == "plain" or stream.seek(0, SEEK_END) <= _EAGER_BYTES:
        with ExitStack() as files:
            _, form = dataset_form(stream, kind, files, max_bytes=_EAGER_UNPACKED_BYTES)
            if kind == PRODUCTS and not has_labels:
                require_labels(form)
    stream.seek(0)


def find(session: Session, name: str) -> Sequence[DatasetVersion]:
    """Return all versions of a dataset, newest first. Raises `NotFound`."""
    versions = _of(session, name)
    if not versions:
        raise NotFound(f"No dataset {name!r}")
    return versions


def all_by_name(session: Session) -> list[tuple[str, list[DatasetVersion]]]:
    """Return all datasets by name, each with its versions, newest first."""
    query = select(DatasetVersion).order_by(DatasetVersion.name, DatasetVersion.version.desc())
    # A request may name thousands of rows, and a report lists many; a list shows neither.
    found = session.scalars(
        query.options(defer(DatasetVersion.asked), defer(DatasetVersion.report))
    )
    return [(name, list(group)) for name, group in groupby(found, lambda one: one.name)]


def _next(versions: Sequence[DatasetVersion], name: str, is_first: bool) -> tuple[int, int | None]:
    """Return the number of the next version, and of the version that it is based on."""
    states = {one.status for one in versions}
    ready = [one.version for one in versions if one.status == DatasetStatus.READY.value]
    if DatasetStatus.DELETING.value in states:
        raise Conflict(f"The dataset {name!r} is being deleted. Repeat DELETE if that failed")
    if DatasetStatus.CHECKING.value in states:
        raise Conflict(f"A version of {name!r} is being validated. Retry when it is ready")
    number = max((one.version for one in versions), default=0) + 1
    if is_first:
        if ready:
            raise Conflict(
                f"The dataset {name!r} exists. Add to it with POST /v1/datasets/{name}/rows"
            )
        return number, None
    if not versions:
        raise NotFound(f"No dataset {name!r}")
    if not ready:
        raise Conflict(f"No version of {name!r} is ready. Upload the dataset again")
    return number, max(ready)


def _of(session: Session, name: str) -> Sequence[DatasetVersion]:
    query = select(DatasetVersion).where(DatasetVersion.name == name)
    return session.scalars(query.order_by(DatasetVersion.version.desc())).all()


def _locked(session: Session, name: str) -> Sequence[DatasetVersion]:
    query = select(DatasetVersion).where(DatasetVersion.name == name)
    return session.scalars(query.order_by(DatasetVersion.id).with_for_update()).all()


def _uses(name: str) -> ColumnElement[bool]:
    return or_(
        TrainingRun.dataset == name, TrainingRun.dataset.startswith(f"{name}@", autoescape=True)
    )


def _require_name(name: str) -> None:
    try:
        parsed, version = parse(name)
    except InvalidInput as error:
        raise InvalidInput(error.detail, field=("name",)) from error
    if version is not None or parsed != name:
        raise InvalidInput(
            f"Expected a name without a version. Received: {name!r}", field=("name",)
        )
