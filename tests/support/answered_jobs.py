"""Finished jobs with their scores, as the workers would store them."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.categories import CategorySet
from shared.contracts import Failure, Modality
from shared.db.models import Base, Job, JobStatus, Review, Role, Score, User, new_id
from shared.inference.releases.fusion_model import FusionModel
from tests.support.factories import make_job, make_manifest, make_user
from worker_fusion.combine import Evidence, answers
from worker_fusion.join import PROBABILITY_TYPE

Floats = NDArray[np.float32]


def even_fusion(classes: int = 2) -> FusionModel:
    """Return a fusion with equal weights for both modalities, as in the tiny release."""
    even = np.ones(classes, np.float32)
    return FusionModel(even, even, np.zeros(classes, np.float32))


@dataclass
class AnsweredJobs:
    """Factory of finished jobs; the caller adds the rows to a database.

    Attributes:
        user: Owner of the jobs and author of their labels; by default an operator.
    """

    user: User = field(default_factory=partial(make_user, role=Role.OPERATOR.value))
    categories: CategorySet = field(default_factory=lambda: make_manifest().category_set)
    fusion: FusionModel | None = field(default_factory=even_fusion)
    release: str = "1"

    def make(
        self,
        finished_at: datetime,
        *,
        text: list[float] | Floats | None = None,
        image: list[float] | Floats | None = None,
        broken: Modality | None = None,
        seconds: float = 1.0,
        label: int | None = None,
        labelled_at: datetime | None = None,
        reason: str | None = None,
        chance: float = 1.0,
        random_chance: float | None = None,
        **changes: Any,
    ) -> list[Base]:
        """Return the rows of one job: the job, its scores and, with a `reason`, its review.

        Args:
            finished_at: Time at which the job finished.
            text: Probabilities of the text model; `None` for a job without text.
            image: Probabilities of the image model; `None` for a job without image.
            broken: Modality that could not be read.
            seconds: Time from submission to the end.
            label: Category assigned by a person.
            labelled_at: Time of the label (default: one day after `finished_at`).
            reason: Reason for the selection for review; `None` if not selected.
            chance: Probability of the selection.
            random_chance: Probability of the selection by the random sample alone; `None` for a
                review that an older monitor selected.
            changes: Other columns of the job.
        """
        scored = {Modality.TEXT: text, Modality.IMAGE: image}
        probabilities = {
            modality: np.array(values, np.float32)
            for modality, values in scored.items()
            if values is not None
        }
        failures = {broken: Failure(code=f"{broken}_unreadable", message="")} if broken else {}
        evidence = Evidence(probabilities, failures)
        answer = answers([evidence], self.categories, self.fusion)[0]
        job = make_job(
            self.user,
            **{
                "id": new_id(),
                "release": self.release,
                "status": (JobStatus.FAILED if answer.failure else JobStatus.DONE).value,
                "created_at": finished_at - timedelta(seconds=seconds),
                "finished_at": finished_at,
                "wants_text": text is not None or broken is Modality.TEXT,
                "wants_image": image is not None or broken is Modality.IMAGE,
                "prdtypecode": answer.prdtypecode,
                "confidence": answer.confidence,
                "result": answer.result,
                "error_code": answer.failure.code if answer.failure else None,
                "label": label,
                "labelled_at": None
                if label is None
                else labelled_at or finished_at + timedelta(days=1),
                "labelled_by": None if label is None else self.user.username,
                "labelled_by_id": None if label is None else self.user.id,
                **changes,
            },
        )
        scores = [self._score(job, modality, values) for modality, values in probabilities.items()]
        scores += [
            Score(
                job_id=job.id,
                modality=modality.value,
                release=self.release,
                error_code=failure.code,
                error_message=failure.message,
                scored_at=finished_at,
            )
            for modality, failure in failures.items()
        ]
        reviews = [] if reason is None else [self._review(job, reason, chance, random_chance)]
        return [job, *scores, *reviews]

    def _score(self, job: Job, modality: Modality, probabilities: Floats) -> Score:
        return Score(
            job_id=job.id,
            modality=modality.value,
            release=self.release,
            probabilities=probabilities.astype(PROBABILITY_TYPE).tobytes(),
            scored_at=job.finished_at,
        )

    def _review(self, job: Job, reason: str, chance: float, random_chance: float | None) -> Review:
        return Review(
            job_id=job.id,
            chosen_at=job.finished_at,
            reason=reason,
            chance=chance,
            random_chance=random_chance,
        )
