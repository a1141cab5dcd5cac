"""Civil time of China: UTC+8 all year, without daylight saving. Dates and minutes of prices are civil ones."""

from __future__ import annotations

from calendar import monthrange
from datetime import date, datetime, timedelta, timezone
from typing import Final

CIVIL: Final = timezone(timedelta(hours=8))
DAY_MINUTES: Final = 24 * 60

# (month, day of the month). A year of them has 366: 29 February is one.
MonthDay = tuple[int, int]
YEAR: Final[tuple[MonthDay, ...]] = tuple(
    (month, day) for month in range(1, 13) for day in range(1, monthrange(2024, month)[1] + 1)
)


def civil_date(at: datetime) -> date:
    """The date in China at an instant. Refuses an instant that does not say its offset."""
    if at.tzinfo is None:
        raise ValueError("an instant without its offset")
    return at.astimezone(CIVIL).date()


def instant(on: date, *, minute: int = 0) -> datetime:
    """The instant of a minute (0 to 1440) of a civil day; 1440 is the midnight that ends it."""
    return datetime(on.year, on.month, on.day, tzinfo=CIVIL) + timedelta(minutes=minute)


def placed(year: int, month_day: MonthDay) -> date:
    """That day of that year; a day that the month does not have is its last one."""
    month, day = month_day
    return date(year, month, min(day, monthrange(year, month)[1]))


def months_later(year: int, month_day: MonthDay, months: int) -> date:
    """The day so many months after month_day of that year; back for negative ones. A short month ends early."""
    month, day = month_day
    years, index = divmod(month - 1 + months, 12)
    return placed(year + years, (index + 1, day))
