"""Dead letters."""

from datetime import datetime
from typing import Any

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.models.base import ID, Base, new_id


class DeadLetter(Base):
    """Message whose delivery failed for good, stored for inspection and replay."""

    __tablename__ = "dead_letters"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    topic: Mapped[str] = mapped_column(String(64))
    payload: Mapped[dict[str, Any]]
    #: SHA-256 of topic and payload, so that a message is stored only once.
    fingerprint: Mapped[str] = mapped_column(String(64), unique=True)
    error: Mapped[str] = mapped_column(Text)
    deliveries: Mapped[int]
    parked_at: Mapped[datetime]
