"""Days and months in UTC, the periods of performance figures."""

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
    """Half-open time span: `begins_at` is included, `ends_at` is not."""

    begins_at: datetime
    ends_at: datetime

    @classmethod
    def day(cls, moment: datetime) -> Self:
        """Return the day that contains a moment."""
        begins = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return cls(begins, begins + DAY)

    @classmethod
    def month_of(cls, moment: datetime) -> Self:
        """Return the month that contains a moment."""
        begins = cls.day(moment).begins_at.replace(day=1)
        return cls(begins, (begins + 32 * DAY).replace(day=1))

    @classmethod
    def month(cls, name: str) -> Self:
        """Return a month by name, such as `2026-11`. Raises `InvalidInput`."""
        found = _MONTH.match(name)
        if found is None:
            raise InvalidInput(f"Expected a month such as `2026-11`. Received: {name!r}")
        return cls.month_of(datetime(int(found[1]), int(found[2]), 1, tzinfo=UTC))

    @property
    def name(self) -> str:
        """Name of the month that the period begins in, such as `2026-11`."""
        return f"{self.begins_at:%Y-%m}"

    @property
    def is_day(self) -> bool:
        """True if the period is no longer than a day."""
        return self.ends_at - self.begins_at <= DAY

    def before(self) -> Self:
        """Return the previous month."""
        return self.month_of(self.begins_at - DAY)

    def days(self) -> Iterator["Period"]:
        """Yield the days of the period in order."""
        begins = self.begins_at
        while begins < self.ends_at:
            yield Period.day(begins)
            begins += DAY
