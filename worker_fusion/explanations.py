"""Stores what the text and image workers explain; see `gateway/jobs/explanations.py`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import update
from sqlalchemy.orm import Session

from shared.contracts import Explained, Failure, Modality, ModalityExplained
from shared.db.models import Explanation, ExplanationStatus, now
from shared.db.session import UnitOfWork

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Explanations:
    """Finishes explanations that somebody has requested."""

    unit_of_work: UnitOfWork

    def on_modality_explained(self, explained: ModalityExplained) -> None:
        """Store explanations. One that is final, or whose job was deleted, stays unchanged.

        Raises:
            Unavailable: The database does not answer.
        """
        with self.unit_of_work() as work:
            for item in explained.items:
                _finish(work.session, item, explained.modality)
        log.info("modality_explained", modality=explained.modality, items=len(explained.items))

    def fail(self, job_ids: Sequence[str], modality: Modality, failure: Failure) -> None:
        """Fail explanations whose message was given up. Raises `Unavailable`."""
        with self.unit_of_work() as work:
            for job_id in job_ids:
                _finish(work.session, Explained(job_id=job_id, failure=failure), modality)


def _finish(session: Session, item: Explained, modality: Modality) -> None:
    session.execute(
        update(Explanation)
        .where(
            Explanation.job_id == item.job_id,
            Explanation.modality == modality.value,
            Explanation.status == ExplanationStatus.QUEUED.value,
        )
        .values(finished_at=now(), **_values(item, modality)),
        execution_options={"synchronize_session": False},
    )


def _values(item: Explained, modality: Modality) -> dict[str, Any]:
    if item.failure is not None:
        return {
            "status": ExplanationStatus.FAILED.value,
            "error_code": item.failure.code,
            "error_message": item.failure.message,
        }
    fields = {"designation", "description"} if modality is Modality.TEXT else {"grid"}
    return {
        "status": ExplanationStatus.DONE.value,
        "probability": item.probability,
        "content": item.model_dump(mode="json", include=fields),
    }
