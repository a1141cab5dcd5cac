"""What a day is: workday, weekend or holiday, from the weekday and a list of special days.

China's special days come with the product (`china`); staff edit theirs, and hand the mapping in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from billing.tariff.holidays_cn import NOTICES
from billing.tariff.when import DayType

# Special days alone; every other day is what its weekday says. A make-up workday (调休上班) is a "workday" here.
SpecialDays = Mapping[date, DayType]


@dataclass(frozen=True, slots=True)
class SpecialDay:
    """A holiday, or a day that is not what its weekday says; with its name and the number of the notice."""

    on: date
    day_type: DayType
    name: str
    notice: str


def day_type(on: date, special_days: SpecialDays) -> DayType:
    """What kind of day it is."""
    return special_days.get(on) or ("weekend" if on.weekday() >= 5 else "workday")


def missing_years(special_days: SpecialDays, *, first_date: date, last_date: date) -> tuple[int, ...]:
    """The years from first_date to last_date, both included, for which no holiday at all is known.

    The State Council publishes a year's holidays in October or November before it: warn while there is time.
    """
    known = {on.year for on, day_type in special_days.items() if day_type == "holiday"}
    return tuple(year for year in range(first_date.year, last_date.year + 1) if year not in known)


def china() -> tuple[SpecialDay, ...]:
    """The public holidays and make-up workdays of the years that come with the product, by date."""
    return tuple(sorted(_announced(), key=lambda day: day.on))


def _announced() -> Iterator[SpecialDay]:
    for notice in NOTICES:
        for name, first_date, last_date, makeup_dates in notice.breaks:
            for offset in range((last_date - first_date).days + 1):
                yield SpecialDay(first_date + timedelta(days=offset), "holiday", name, notice.number)
            for makeup_date in makeup_dates:
                yield SpecialDay(makeup_date, "workday", f"{name}补班", notice.number)
