"""Shared parts of all tables: UTC times, ids that sort by time, constraint names."""

from datetime import UTC, datetime
from typing import Any, ClassVar

import uuid_utils
from sqlalchemy import JSON, DateTime, MetaData, String
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

#: Length of a UUID as text.
ID = String(36)


class UtcDateTime(TypeDecorator[datetime]):
    """Timezone-aware UTC time on every database; SQLite alone would lose the time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: object) -> datetime | None:
        """Convert a time to UTC for storage."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: object) -> datetime | None:
        """Return a stored time with the UTC time zone."""
        return None if value is None else value.replace(tzinfo=value.tzinfo or UTC)


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def new_id() -> str:
    """Return a new UUIDv7, whose order follows its creation time (RFC 9562)."""
    return str(uuid_utils.uuid7())


def first_id_of(moment: datetime) -> str:
    """Return the lowest id of a time; ids begin with their Unix time in milliseconds."""
    milliseconds = f"{max(0, int(moment.timestamp() * 1000)):012x}"
    return f"{milliseconds[:8]}-{milliseconds[8:]}-0000-0000-000000000000"


class Base(DeclarativeBase):
    """Base class of all tables."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime(),
        dict[str, Any]: JSON(),
        list[Any]: JSON(),
    }
