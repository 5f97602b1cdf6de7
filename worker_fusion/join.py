"""Completes jobs exactly once: the message with the last modality writes the answer."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import structlog
from sqlalchemy import Connection, update

from shared import metrics
from shared.categories import CategorySet
from shared.contracts import Failure, JobAnswer, Lane, Modality, ModalityScore, ModalityScored
from shared.db.models import Job, JobStatus, now
from shared.db.session import UnitOfWork
from shared.errors import NotFound
from shared.inference.releases.access import ReleaseReader
from shared.inference.releases.fusion_model import FusionModel
from shared.inference.releases.novelty import Novelty
from shared.inference.serving.loading import Loads
from worker_fusion.combine import Answer, Evidence, answers
from worker_fusion.statements import ANSWER_JOBS, INSERT_SCORES, LOCK_QUEUED, SCORES

log = structlog.get_logger(__name__)

PROBABILITY_TYPE = np.dtype("<f4")


@dataclass(frozen=True)
class Loaded:
    """Parts of a release that its answers need.

    Attributes:
        categories: Categories of the release.
        fusion: Combines both modalities; `None` for a single one.
        novelty: Scales of foreign products.
    """

    categories: CategorySet
    fusion: FusionModel | None
    novelty: Novelty


class Fusions:
    """Parts of releases that answers need, kept in memory."""

    def __init__(self, registry: ReleaseReader) -> None:
        self._registry = registry
        self._loaded: dict[str, Loaded] = {}
        #: Failed loads of fusion models.
        self.loads = Loads("fusion")

    def load(self, version: str) -> Loaded:
        """Return what the answers of a release need.

        Raises:
            NotFound: The registry has no such version.
            ReleaseUnloadable: The version cannot be loaded here for now.
        """
        if version not in self._loaded:
            with self.loads.loading(version):
                self._loaded[version] = self._load(version)
            metrics.release_in_service.labels("fusion", version).set(1)
        return self._loaded[version]

    def _load(self, version: str) -> Loaded:
        manifest = self._registry.manifest(version)
        folder = self._registry.folder(version) / "fusion"
        fusion = FusionModel.load(folder) if len(manifest.modalities) > 1 else None
        return Loaded(manifest.category_set, fusion, Novelty.load(folder))


@dataclass(frozen=True)
class Join:
    """Records scores and completes jobs, one transaction per message."""

    unit_of_work: UnitOfWork
    fusions: Fusions

    def on_modality_scored(self, scored: ModalityScored) -> None:
        """Record the scores of a slice and complete every job that has all its modalities.

        Raises:
            Unavailable: The database or the registry does not answer; nothing has changed.
        """
        try:
            release = self.fusions.load(scored.release)
        except NotFound as error:
            # A retry would not help: the release was deleted from the registry.
            failure = Failure(code="release_unknown", message=error.detail)
            self.fail([item.job_id for item in scored.items], failure)
            return
        with self.unit_of_work() as work:
            connection = work.session.connection()
            jobs = _lock_queued(connection, scored)
            evidence = _evidence(connection, jobs)
            _record(connection, scored, jobs, evidence)
            finished = _finished(jobs, evidence, release)
            rows = _job_rows(finished)
            if rows:
                connection.execute(ANSWER_JOBS, rows)
            if scored.lane == Lane.INTERACTIVE:
                work.announce_answers(_as_json(rows))
            else:
                # Nobody waits for a single row of a catalog.
                work.announce(finished)
        for job, answer in finished.values():
            _measure(job, answer, scored.release)
        log.info(
            "modality_joined",
            modality=scored.modality,
            items=len(scored.items),
            finished=len(finished),
            release=scored.release,
        )

    def fail(self, job_ids: Sequence[str], failure: Failure) -> None:
        """Fail jobs that cannot be answered.

        Raises:
            Unavailable: The database does not answer.
        """
        with self.unit_of_work() as work:
            failed = work.session.scalars(
                update(Job)
                .where(Job.id.in_(job_ids), Job.status == JobStatus.QUEUED.value)
                .values(
                    status=JobStatus.FAILED.value,
                    finished_at=now(),
                    error_code=failure.code,
                    error_message=failure.message,
                )
                .returning(Job.id)
            ).all()
            work.announce(failed)
        metrics.jobs_finished_total.labels(JobStatus.FAILED.value).inc(len(failed))
        log.error("jobs_failed", jobs=len(failed), code=failure.code)


@dataclass(frozen=True)
class _Queued:
    """Columns of a queued job that the join needs; texts are not read."""

    lane: str
    created_at: datetime
    wants_text: bool
    wants_image: bool

    @property
    def wants_both(self) -> bool:
        """True if the job needs scores of both modalities."""
        return self.wants_text and self.wants_image


def _lock_queued(connection: Connection, scored: ModalityScored) -> dict[str, _Queued]:
    # Two modalities may finish at the same time. Without this lock neither transaction sees the
    # score of the other, and the job would wait forever. SQLite has no row locks; its transactions
    # are exclusive.
    ids = list({item.job_id for item in scored.items})
    rows = connection.execute(LOCK_QUEUED, {"ids": ids, "release": scored.release})
    return {row.id: _Queued(*row[1:]) for row in rows}


def _record(
    connection: Connection,
    scored: ModalityScored,
    jobs: Collection[str],
    evidence: Mapping[str, Evidence],
) -> None:
    """Insert the scores of jobs that have none of this modality, and add them to the evidence."""
    new = {
        item.job_id: item
        for item in scored.items
        if item.job_id in jobs and not _has(evidence[item.job_id], scored.modality)
    }
    if not new:
        return
    rows = [_score_row(scored, item) for item in new.values()]
    connection.execute(INSERT_SCORES, rows)
    for row in rows:
        _add(evidence[row["job_id"]], scored.modality, row)


def _has(one: Evidence, modality: Modality) -> bool:
    return modality in one.probabilities or modality in one.failures


def _score_row(scored: ModalityScored, item: ModalityScore) -> dict[str, Any]:
    probabilities = item.probabilities
    return {
        "job_id": item.job_id,
        "modality": scored.modality.value,
        "release": scored.release,
        "probabilities": None
        if probabilities is None
        else np.array(probabilities, PROBABILITY_TYPE).tobytes(),
        "error_code": item.failure.code if item.failure else None,
        "error_message": item.failure.message if item.failure else None,
        "scored_at": now(),
    }


def _finished(
    jobs: Mapping[str, _Queued], evidence: Mapping[str, Evidence], release: Loaded
) -> dict[str, tuple[_Queued, Answer]]:
    """Return the jobs that have all their modalities, with their answers."""
    complete = {id_: evidence[id_] for id_, job in jobs.items() if _is_complete(job, evidence[id_])}
    waiting = list(complete.values())
    found = answers(waiting, release.categories, release.fusion, release.novelty)
    return {id_: (jobs[id_], one) for id_, one in zip(complete, found, strict=True)}


def _measure(job: _Queued, answer: Answer, release: str) -> None:
    metrics.job_seconds.labels(job.lane).observe((now() - job.created_at).total_seconds())
    if answer.result is None or answer.confidence is None:
        metrics.jobs_finished_total.labels(JobStatus.FAILED.value).inc()
        return
    metrics.jobs_finished_total.labels(JobStatus.DONE.value).inc()
    degraded = "yes" if answer.result["degraded"] else "no"
    metrics.answers_total.labels(job.lane, degraded).inc()
    metrics.answer_confidence.labels(release).observe(answer.confidence)
    metrics.categories_answered_total.labels(answer.result["category"]).inc()


def _evidence(connection: Connection, jobs: Mapping[str, _Queued]) -> dict[str, Evidence]:
    """Return the scores of jobs that were recorded before, by job."""
    found = {id_: Evidence() for id_ in jobs}
    # The score of a job that needs one only is recorded by the transaction that completes the job.
    both = [id_ for id_, job in jobs.items() if job.wants_both]
    if both:
        for score in connection.execute(SCORES, {"ids": both}):
            _add(found[score.job_id], Modality(score.modality), score._asdict())
    return found


def _add(evidence: Evidence, modality: Modality, score: Mapping[str, Any]) -> None:
    """Add a row of `scores` to the evidence of its job."""
    if score["probabilities"] is None:
        evidence.failures[modality] = Failure(
            code=score["error_code"] or "unknown", message=score["error_message"] or ""
        )
    else:
        evidence.probabilities[modality] = np.frombuffer(score["probabilities"], PROBABILITY_TYPE)


def _is_complete(job: _Queued, evidence: Evidence) -> bool:
    there = evidence.probabilities.keys() | evidence.failures.keys()
    wanted = {
        modality
        for modality, is_wanted in (
            (Modality.TEXT, job.wants_text),
            (Modality.IMAGE, job.wants_image),
        )
        if is_wanted
    }
    return wanted <= there


def _job_rows(finished: Mapping[str, tuple[_Queued, Answer]]) -> list[dict[str, Any]]:
    moment = now()
    return [_job_row(id_, answer, moment) for id_, (_, answer) in finished.items()]


def _as_json(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Return the answers of jobs for those who wait, by job."""
    # Not validated here: an error of one announcement must not undo the answers of all.
    return {row["job_id"]: JobAnswer.model_construct(**row).model_dump_json() for row in rows}


def _job_row(id_: str, found: Answer, moment: datetime) -> dict[str, Any]:
    is_failed = found.failure is not None
    return {
        "job_id": id_,
        "status": (JobStatus.FAILED if is_failed else JobStatus.DONE).value,
        "finished_at": moment,
        "prdtypecode": found.prdtypecode,
        "confidence": found.confidence,
        "result": found.result,
        "is_foreign": found.is_foreign,
        "error_code": found.failure.code if found.failure else None,
        "error_message": found.failure.message if found.failure else None,
    }
