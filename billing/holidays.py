"""Which days are special: the country's breaks and make-up workdays, and what a property says otherwise.

The country's come with the product (migration 0006, from `billing.tariff.calendar`); staff add to them.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Final

from django.db.models import F, Q

from billing.models import SpecialDay
from billing.tariff import calendar
from billing.tariff.civil import civil_date
from billing.tariff.when import DayType
from notifications import worklist

Kind = SpecialDay.Kind
DAY_TYPES: Final[dict[str, DayType]] = {Kind.HOLIDAY: "holiday", Kind.MAKE_UP_WORKDAY: "workday"}
WARN_FROM_MONTH: Final = 10  # the notice comes out in October or November


def special_days(*, property_id: int) -> dict[date, DayType]:
    """The calendar of a property, as `billing.tariff` reads it: the country's days, overruled by its own."""
    rows = SpecialDay.objects.filter(Q(property=None) | Q(property=property_id))
    days: dict[date, DayType] = {}
    for row in rows.order_by(F("property").asc(nulls_first=True)):
        days.pop(row.on_date, None)
        if row.kind in DAY_TYPES:
            days[row.on_date] = DAY_TYPES[row.kind]
    return days


def missing_years(*, now: datetime) -> tuple[int, ...]:
    """Years without a holiday of the country: this one, and from October on the next."""
    today = civil_date(now)
    until = date(today.year + (today.month >= WARN_FROM_MONTH), 12, 31)
    rows = SpecialDay.objects.filter(property=None, kind=Kind.HOLIDAY, on_date__gte=date(today.year, 1, 1))
    known: dict[date, DayType] = dict.fromkeys(rows.values_list("on_date", flat=True), "holiday")
    return calendar.missing_years(known, first_date=today, last_date=until)


def warn(*, now: datetime) -> tuple[int, ...]:
    """Puts each year without holidays on the work list, once, and takes off those that have been entered since."""
    missing = missing_years(now=now)
    year = civil_date(now).year
    for each in (year, year + 1):
        key = f"holidays_missing:{each}"
        if each in missing:
            worklist.raise_item(
                key=key, kind="holidays_missing", property_id=None, detail={"year": each}, trace="", now=now
            )
        else:
            worklist.resolve(key=key, by=None, resolution="entered", now=now)
    return missing
