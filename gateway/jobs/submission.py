"""Submission of jobs: products are stored with others in one transaction."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, bindparam, insert, select

from gateway.identity.principal import Principal
from gateway.jobs.group_commit import GroupCommit
from gateway.jobs.outbox import LARGEST_GROUP, Outbox
from gateway.jobs.schemas import ModelName
from gateway.web.idempotency import require_same_content, run_once
from shared import metrics
from shared.contracts import Lane
from shared.db.models import IdempotencyKey, Job, JobStatus, User, new_id, now
from shared.db.session import UnitOfWork
from shared.errors import InvalidInput, Unauthenticated
from shared.readable import readable
from shared.storage import Storage

#: Folder of the stored images; the name is part of existing URIs.
IMAGES = "pictures"
#: Statements of a submission. They are built once and executed without the ORM: building one and
#: the ORM each take longer than SQLite needs to execute it.
_ACCOUNTS = select(User.id).where(User.id.in_(bindparam("ids", expanding=True)))
_INSERT_JOBS = insert(Job)
_INSERT_KEYS = insert(IdempotencyKey)


@dataclass(frozen=True)
class Product:
    """A product submitted for classification."""

    designation: str
    description: str
    image: bytes
    model: ModelName
    release: str

    @property
    def has_text(self) -> bool:
        """True if a person can read anything in the title or the description."""
        return bool(readable(self.designation) or readable(self.description))

    def fingerprint(self) -> str:
        """Return the SHA-256 of the submitted content."""
        content = hashlib.sha256()
        fields = (self.designation, self.description, self.model, self.release)
        for field in (*(text.encode() for text in fields), self.image):
            content.update(len(field).to_bytes(8, "big") + field)
        return content.hexdigest()


def require_input(product: Product) -> None:
    """Check that the product has the input of its model. Raises `InvalidInput`."""
    if product.model == "image" and not product.image:
        raise InvalidInput("`model=image` needs an image. Received: none", field=("image",))
    if product.model == "text" and not product.has_text:
        raise InvalidInput(
            "`model=text` needs a `designation` or a `description`. Received: neither",
            field=("designation",),
        )
    if not product.has_text and not product.image:
        raise InvalidInput(
            "Expected a `designation`, a `description` or an `image`. Received: none of them",
            field=("designation",),
        )


@dataclass(frozen=True)
class Offer:
    """A product to be classified.

    Attributes:
        principal: Owner of the job.
        product: A product that `require_input` has accepted.
        version: Version of the release that answers.
        trace_id: ID of the trace that the messages of the job continue.
    """

    principal: Principal
    product: Product
    version: str
    trace_id: str


@dataclass(frozen=True)
class _Submission:
    """A job to be stored, with its idempotency key."""

    offer: Offer
    job: Job
    key: str | None = None

    @property
    def user_id(self) -> str:
        """ID of the owner."""
        return self.offer.principal.id


class Jobs:
    """Accepts jobs; concurrent submissions share a transaction and messages.

    Attributes:
        outbox: Sends the messages of stored jobs.
    """

    def __init__(self, unit_of_work: UnitOfWork, storage: Storage, lease_seconds: float) -> None:
        self._unit_of_work = unit_of_work
        self._storage = storage
        self.lease_seconds = lease_seconds
        self._group: GroupCommit[_Submission, Job] = GroupCommit(self._keep, most=LARGEST_GROUP)
        self.outbox = Outbox(unit_of_work.publisher.publish)

    def submit(self, offer: Offer, idempotency_key: str | None = None) -> Job:
        """Store a job and request its scores from the workers.

        Args:
            offer: The product.
            idempotency_key: A repeated request with the same key and content returns the same
                job.

        Raises:
            Conflict: The key was used with other content.
            Unauthenticated: The account was deleted.
            Unavailable: The database or the storage does not answer; no job was stored.
        """

        def keep() -> Job:
            submission = _Submission(offer, self._job(offer), idempotency_key)
            return _counted(self._group.submit(submission))

        return run_once(lambda: self._known(offer, idempotency_key), keep)

    def submit_all(self, offers: Sequence[Offer]) -> list[Job | Exception]:
        """Store jobs without idempotency keys; return each of them, or the error of `submit`."""
        made = [self._submission_or_error(one) for one in offers]
        submissions = [one for one in made if isinstance(one, _Submission)]
        kept = iter(self._group.submit_all(submissions))
        outcomes = [next(kept) if isinstance(one, _Submission) else one for one in made]
        return [_counted(one) if isinstance(one, Job) else one for one in outcomes]

    @property
    def waiting(self) -> int:
        """Number of jobs waiting for the running transaction."""
        return self._group.waiting

    def _keep(self, submissions: Sequence[_Submission]) -> Sequence[Job | Exception]:
        with self._unit_of_work() as work:
            connection = work.session.connection()
            there = _accounts(connection, {one.user_id for one in submissions})
            kept = [one for one in submissions if one.user_id in there]
            if kept:
                connection.execute(_INSERT_JOBS, [_values(one.job) for one in kept])
            keys = [_key_values(one) for one in kept if one.key is not None]
            if keys:
                connection.execute(_INSERT_KEYS, keys)
        self.outbox.put([one.job for one in kept])
        return [
            one.job if one.user_id in there else Unauthenticated("The account was deleted")
            for one in submissions
        ]

    def _submission_or_error(self, offer: Offer) -> _Submission | Exception:
        try:
            return _Submission(offer, self._job(offer))
        except Exception as error:
            return error

    def _job(self, offer: Offer) -> Job:
        product = offer.product
        wants_image = product.model != "text" and bool(product.image)
        moment = now()
        return Job(
            id=new_id(),
            user_id=offer.principal.id,
            trace_id=offer.trace_id,
            lane=Lane.INTERACTIVE.value,
            model=product.model,
            release=offer.version,
            designation=product.designation,
            description=product.description,
            image_uri=self._storage.put(IMAGES, product.image) if wants_image else None,
            image_bytes=len(product.image) if wants_image else None,
            wants_text=product.model != "image" and product.has_text,
            wants_image=wants_image,
            status=JobStatus.QUEUED.value,
            created_at=moment,
            published_at=moment,
            leased_until=moment + timedelta(seconds=self.lease_seconds),
            attempts=0,
        )

    def _known(self, offer: Offer, key: str | None) -> Job | None:
        if key is None:
            return None
        with self._unit_of_work.reading() as session:
            found = session.get(IdempotencyKey, (offer.principal.id, key))
            if found is None:
                return None
            sent = offer.product.fingerprint()
            require_same_content(key, kept=found.fingerprint, sent=sent)
            return session.get(Job, found.job_id)


def _counted(job: Job) -> Job:
    metrics.jobs_submitted_total.labels(job.lane, job.model).inc()
    return job


def _accounts(connection: Connection, ids: Collection[str]) -> set[str]:
    """Return those of some IDs that accounts have."""
    return set(connection.scalars(_ACCOUNTS, {"ids": list(ids)}))


def _values(job: Job) -> dict[str, object]:
    """Return the columns that were set; the others get their defaults."""
    return {name: value for name, value in vars(job).items() if not name.startswith("_")}


def _key_values(submission: _Submission) -> dict[str, object]:
    return {
        "user_id": submission.user_id,
        "key": submission.key,
        "fingerprint": submission.offer.product.fingerprint(),
        "job_id": submission.job.id,
    }
