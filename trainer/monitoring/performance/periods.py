"""Days and months in UTC, as figures are kept by."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from shared.errors import InvalidInput

DAY = timedelta(days=1)
_MONTH = re.compile(r"^(20\d\d)-(0[1-9]|1[0-2])$")


@dataclass(frozen=True)
class Period:
    """From one moment on, up to another one."""

    begins_at: datetime
    ends_at: datetime

    @classmethod
    def day(cls, moment: datetime) -> Self:
        """The day of a moment."""
        begins = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return cls(begins, begins + DAY)

    @classmethod
    def month_of(cls, moment: datetime) -> Self:
        """The month of a moment."""
        begins = cls.day(moment).begins_at.replace(day=1)
        return cls(begins, (begins + 32 * DAY).replace(day=1))

    @classmethod
    def month(cls, name: str) -> Self:
        """A month by its name, such as `2026-11`. Raises `InvalidInput`."""
        found = _MONTH.match(name)
        if found is None:
            raise InvalidInput(f"Expected a month such as `2026-11`. Received: {name!r}")
        return cls.month_of(datetime(int(found[1]), int(found[2]), 1, tzinfo=UTC))

    @property
    def name(self) -> str:
        """Of the month that it begins in, such as `2026-11`."""
        return f"{self.begins_at:%Y-%m}"

    @property
    def is_day(self) -> bool:
        """Whether it is no longer than a day."""
        return self.ends_at - self.begins_at <= DAY

    def before(self) -> Self:
        """The month before."""
        return self.month_of(self.begins_at - DAY)

    def days(self) -> Iterator["Period"]:
        """Its days, in order."""
        begins = self.begins_at
        while begins < self.ends_at:
            yield Period.day(begins)
            begins += DAY
