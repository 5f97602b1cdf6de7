"""Explanations of answers: requested from the workers at the first look, and stored.

A request without a stored explanation inserts its rows, sends messages to the interactive workers,
and may wait until fusion has stored the result. Few are in progress at once, so that they never
keep the workers from scoring.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from gateway.identity.principal import Principal
from gateway.jobs.long_poll import LongPolls
from gateway.jobs.service import find
from gateway.settings import ExplanationSettings
from shared.contracts import (
    ExplainImage,
    ExplainText,
    Lane,
    Modality,
    TextItem,
    WorkMessage,
)
from shared.db.models import Explanation, ExplanationStatus, Job, JobStatus, now
from shared.db.session import UnitOfWork, take_turns
from shared.errors import Conflict, Limited, NotFound, Unavailable

#: `Retry-After` of a request beyond a limit, in seconds.
RETRY_SECONDS = 5
#: Requests that may wait for explanations at once in this process.
MOST_WAITING = 256
#: Time after which a failed explanation is tried again when somebody asks, in seconds.
FAILED_SECONDS = 60
_QUEUED, _FAILED = ExplanationStatus.QUEUED.value, ExplanationStatus.FAILED.value


@dataclass(frozen=True)
class Explanations:
    """Requests explanations, and reads the stored ones."""

    unit_of_work: UnitOfWork
    settings: ExplanationSettings
    #: Requests that wait for an explanation.
    polls: LongPolls

    def of(self, principal: Principal, job_id: str) -> tuple[Job, Sequence[Explanation]]:
        """Return a job with its explanations, requested first if necessary.

        Raises:
            NotFound: The principal has no such job, or its product was deleted.
            Conflict: The job has no answer.
            Limited: The user has too many explanations in progress.
            Unavailable: All users together have too many, or the queue does not answer.
        """
        with self.unit_of_work.reading() as session:
            job = _explainable(session, principal, job_id)
            found = _stored(session, job_id)
            if not _to_request(job, found):
                return job, found
        self._request(principal, job_id)
        with self.unit_of_work.reading() as session:
            return job, _stored(session, job_id)

    def _request(self, principal: Principal, job_id: str) -> None:
        """Insert the rows that are missing, and send their messages."""
        with self.unit_of_work() as work:
            # Requests at the same time must see each other's rows.
            take_turns(work.session, "explanations")
            job = _explainable(work.session, principal, job_id)
            wanted = _to_request(job, _stored(work.session, job_id))
            if wanted:
                self._require_room(work.session, principal)
            for modality in wanted:
                row = self._row(job_id, modality, principal)
                work.session.merge(row)
                work.publish(_message(job, row))
        if work.unsent:
            self._give_up(job_id)
            raise Unavailable("The message queue does not answer, so nothing can be explained now")

    def _row(self, job_id: str, modality: Modality, principal: Principal) -> Explanation:
        moment = now()
        return Explanation(
            job_id=job_id,
            modality=modality.value,
            status=_QUEUED,
            requested_by_id=principal.id,
            requested_at=moment,
            expires_at=moment + timedelta(seconds=self.settings.seconds),
            # The row may hold an earlier explanation that was lost or has failed; its values go.
            **dict.fromkeys(
                ("finished_at", "probability", "content", "error_code", "error_message")
            ),
        )

    def _require_room(self, session: Session, principal: Principal) -> None:
        in_progress = select(func.count(Explanation.job_id.distinct())).where(
            Explanation.status == _QUEUED, Explanation.expires_at > now()
        )
        own = in_progress.where(Explanation.requested_by_id == principal.id)
        if (session.scalar(own) or 0) >= self.settings.of_user:
            raise Limited(
                f"Expected at most {self.settings.of_user} explanations in progress. Received: one "
                "more",
                retry_after_seconds=RETRY_SECONDS,
            )
        if (session.scalar(in_progress) or 0) >= self.settings.of_all:
            raise Unavailable(
                "The workers explain as many answers as they may at once",
                retry_after_seconds=RETRY_SECONDS,
            )

    def _give_up(self, job_id: str) -> None:
        """Let the next request begin again: nobody will answer this one."""
        with self.unit_of_work() as work:
            work.session.execute(
                update(Explanation)
                .where(Explanation.job_id == job_id, Explanation.status == _QUEUED)
                .values(expires_at=now()),
                execution_options={"synchronize_session": False},
            )


def explained(unit_of_work: UnitOfWork, ids: Collection[str]) -> set[str]:
    """Return those of some job IDs of which no explanation is in progress."""
    with unit_of_work.reading() as session:
        queued = session.scalars(
            select(Explanation.job_id).where(
                Explanation.job_id.in_(ids),
                Explanation.status == _QUEUED,
                Explanation.expires_at > now(),
            )
        )
        return set(ids) - set(queued)


def _explainable(session: Session, principal: Principal, job_id: str) -> Job:
    job = find(session, principal, job_id)
    if job.status != JobStatus.DONE.value:
        raise Conflict(f"Expected a job with an answer. Received: one that is `{job.status}`")
    if not _modalities(job):
        raise NotFound(f"The product of job {job_id!r} was deleted, so nothing is left to explain")
    return job


def _modalities(job: Job) -> set[Modality]:
    """Return the modalities of the answer whose input is still stored."""
    answered = (job.result or {}).get("modalities", {})
    there = {
        Modality.TEXT: bool(job.designation or job.description),
        Modality.IMAGE: job.image_uri is not None,
    }
    return {modality for modality, is_there in there.items() if is_there and modality in answered}


def _stored(session: Session, job_id: str) -> Sequence[Explanation]:
    query = select(Explanation).where(Explanation.job_id == job_id).order_by(Explanation.modality)
    return session.scalars(query.execution_options(populate_existing=True)).all()


def _to_request(job: Job, found: Sequence[Explanation]) -> list[Modality]:
    """Return the modalities without an explanation, or with one that was lost or has failed."""
    usable = {one.modality for one in found if not _is_over(one)}
    return sorted(modality for modality in _modalities(job) if modality.value not in usable)


def _is_over(one: Explanation) -> bool:
    if one.status == _FAILED and one.finished_at is not None:
        return one.finished_at + timedelta(seconds=FAILED_SECONDS) < now()
    return one.status == _QUEUED and one.expires_at < now()


def _message(job: Job, row: Explanation) -> WorkMessage:
    head = {
        "trace_id": job.trace_id,
        "lane": Lane.INTERACTIVE,
        "release": job.release,
        "user_id": row.requested_by_id,
        "expires_at": row.expires_at,
    }
    code = {"prdtypecode": job.prdtypecode}
    if row.modality == Modality.TEXT.value:
        text = TextItem.of(job.id, job.designation, job.description)
        return ExplainText.model_validate({**head, "items": [{**text.model_dump(), **code}]})
    image = {"job_id": job.id, "uri": job.image_uri, **code}
    return ExplainImage.model_validate({**head, "items": [image]})
