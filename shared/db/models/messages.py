"""Messages that were given up."""

from datetime import datetime
from typing import Any

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.models.base import ID, Base, new_id


class DeadLetter(Base):
    """A message that was given up, kept to be looked at and replayed."""

    __tablename__ = "dead_letters"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    topic: Mapped[str] = mapped_column(String(64))
    payload: Mapped[dict[str, Any]]
    #: SHA-256 of topic and payload: the same message is parked once.
    fingerprint: Mapped[str] = mapped_column(String(64), unique=True)
    error: Mapped[str] = mapped_column(Text)
    deliveries: Mapped[int]
    parked_at: Mapped[datetime]
