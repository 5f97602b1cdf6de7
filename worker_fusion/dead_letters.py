"""Stores parked messages as dead letters and ends or degrades their jobs."""

import hashlib
import json
from dataclasses import dataclass

import structlog
from pydantic import ValidationError
from sqlalchemy import select

from shared.contracts import (
    TOPICS,
    ExplainImage,
    ExplainText,
    Failure,
    Message,
    MessageParked,
    Modality,
    ModalityExplained,
    ModalityScore,
    ModalityScored,
    ScoreImage,
    ScoreText,
    WorkMessage,
)
from shared.db.models import DeadLetter
from shared.db.session import UnitOfWork
from worker_fusion.explanations import Explanations
from worker_fusion.join import Join

log = structlog.get_logger(__name__)

#: Failure code of a modality whose message was parked.
PARKED = "message_parked"


@dataclass(frozen=True)
class DeadLetters:
    """Stores dead letters and resolves their jobs."""

    unit_of_work: UnitOfWork
    join: Join
    explanations: Explanations

    def on_message_parked(self, parked: MessageParked) -> None:
        """Store the message; its jobs continue with their other modality or fail with the reason.

        An explanation fails, and its job keeps its answer. A message that this version cannot read
        is only stored, since its jobs are unknown.

        Raises:
            Unavailable: The database or the registry does not answer.
        """
        self._keep(parked)
        message = _message_of(parked)
        if isinstance(message, ScoreText | ScoreImage):
            modality = Modality.TEXT if isinstance(message, ScoreText) else Modality.IMAGE
            self.join.on_modality_scored(_failures(message, modality, parked.error))
        elif isinstance(message, ExplainText | ExplainImage):
            modality = Modality.TEXT if isinstance(message, ExplainText) else Modality.IMAGE
            self.explanations.fail(
                [item.job_id for item in message.items],
                modality,
                Failure(code=PARKED, message=f"The request was {parked.error}"),
            )
        elif isinstance(message, ModalityExplained):
            self.explanations.fail(
                [item.job_id for item in message.items],
                message.modality,
                Failure(code=PARKED, message=f"The explanation was {parked.error}"),
            )
        elif isinstance(message, ModalityScored):
            self.join.fail(
                [item.job_id for item in message.items],
                Failure(code=PARKED, message=f"Its scores were {parked.error}"),
            )

    def _keep(self, parked: MessageParked) -> None:
        fingerprint = _fingerprint(parked)
        with self.unit_of_work() as work:
            known = select(DeadLetter.id).where(DeadLetter.fingerprint == fingerprint)
            if work.session.scalar(known) is not None:
                return
            work.session.add(
                DeadLetter(
                    topic=parked.parked_topic,
                    payload=parked.payload,
                    fingerprint=fingerprint,
                    error=parked.error,
                    deliveries=parked.deliveries,
                    parked_at=parked.parked_at,
                )
            )
        log.error("dead_letter_kept", topic=parked.parked_topic, error=parked.error)


def _message_of(parked: MessageParked) -> Message | None:
    # An exception here would park `MessageParked` itself, as a second dead letter.
    try:
        return TOPICS[parked.parked_topic].model_validate(parked.payload)
    except (KeyError, ValidationError):
        log.warning("dead_letter_unreadable", topic=parked.parked_topic)
        return None


def _failures(message: WorkMessage, modality: Modality, error: str) -> ModalityScored:
    failure = Failure(code=PARKED, message=f"Its {modality.value} message was {error}")
    return ModalityScored(
        trace_id=message.trace_id,
        lane=message.lane,
        release=message.release,
        modality=modality,
        items=tuple(ModalityScore(job_id=item.job_id, failure=failure) for item in message.items),
    )


def _fingerprint(parked: MessageParked) -> str:
    content = json.dumps([parked.parked_topic, parked.payload], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()
