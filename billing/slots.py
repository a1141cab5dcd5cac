"""Versions laid out over time for SQL: a row for every hour and every change of period.

Derived from definitions and the calendar, made anew at will. What is not laid out is not guessed at: rating leaves such
readings to the careful path, which asks the engine itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Final

from django.db import connection, transaction
from django.db.models import Q

from billing import holidays
from billing.models import PriceSlot, TariffVersion
from billing.models import Tariff as NamedTariff
from billing.tariff import expand as engine
from billing.tariff import parse
from billing.tariff.calendar import SpecialDays
from billing.tariff.civil import civil_date
from billing.tariff.errors import DefinitionError
from billing.tariff.expand import Slot
from billing.tariff.version import Tariff
from notifications import worklist

DAYS_BACK: Final = 3  # readings that come later than that are not rated by SQL
DAYS_AHEAD: Final = 45
HOUR: Final = timedelta(hours=1)

Row = tuple[int, datetime, datetime, date, str, date | None, list[int], list[int], int]
_COPY = (
    "copy billing_priceslot (version_id, starts_at, ends_at, usage_date, period, cycle_date, limits_wh, prices, fee)"
    " from stdin"
)


def expand(*, now: datetime) -> int:
    """Lays out all tariffs in use, each in its own transaction; returns rows written. Run daily.

    A definition that can no longer be read holds up its own tariff alone, and goes to the work list.
    """
    today = civil_date(now)
    in_use = Q(assignments__starts_date__lte=today + timedelta(days=DAYS_AHEAD)) & (
        Q(assignments__ends_date=None) | Q(assignments__ends_date__gt=today - timedelta(days=DAYS_BACK))
    )
    return sum(_or_complain(tariff, now) for tariff in NamedTariff.objects.filter(in_use).distinct().order_by("pk"))


def _or_complain(tariff: NamedTariff, now: datetime) -> int:
    key = f"tariff_unreadable:{tariff.pk}"
    try:
        written = lay_out(tariff_id=tariff.pk, now=now)
    except DefinitionError as error:
        detail = {"tariff": tariff.name, "error": str(error)}
        worklist.raise_item(
            key=key, kind="tariff_unreadable", property_id=tariff.property_id, detail=detail, trace="", now=now
        )
        return 0
    worklist.resolve(key=key, by=None, resolution="read again", now=now)
    return written


def lay_out(*, tariff_id: int, now: datetime) -> int:
    """Writes the slots of a tariff's versions anew, from three days ago to 45 days ahead; returns rows.

    Each version from its start to the next one's, so that no two hold at once. All or nothing; two who do it at the
    same time do it one after the other. Raises DefinitionError.
    """
    today = civil_date(now)
    first, until = today - timedelta(days=DAYS_BACK), today + timedelta(days=DAYS_AHEAD + 1)
    with transaction.atomic():
        rows = TariffVersion.objects.filter(tariff=tariff_id).select_related("tariff").order_by("pk")
        versions = list(rows.select_for_update(no_key=True, of=("self",)))
        PriceSlot.objects.filter(version__in=versions).delete()
        published = sorted(
            (version for version in versions if version.state == TariffVersion.State.PUBLISHED),
            key=lambda version: version.starts_date,
        )
        if not published:
            return 0
        special_days = holidays.special_days(property_id=published[0].tariff.property_id)
        ends = [version.starts_date for version in published[1:]] + [until]
        return sum(
            _lay_out_one(version, max(first, version.starts_date), min(until, end), special_days)
            for version, end in zip(published, ends, strict=True)
        )


def _lay_out_one(version: TariffVersion, first: date, until: date, special_days: SpecialDays) -> int:
    """Days from first up to, not including, until."""
    rows = list(_rows(version, first, until, special_days)) if first < until else []
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        for row in rows:
            copy.write_row(row)
    TariffVersion.objects.filter(pk=version.pk).update(slots_until_date=until if rows else None)
    return len(rows)


def _rows(version: TariffVersion, first: date, until: date, special_days: SpecialDays) -> Iterator[Row]:
    tariff = parse.tariff(version.definition)
    last = until - timedelta(days=1)
    limits = limits_by_cycle(tariff, first_date=first, last_date=last)
    for slot in engine.slots(tariff, first_date=first, last_date=last, special_days=special_days):
        for starts_at, ends_at in pairwise(_hours(slot)):
            yield (
                version.pk,
                starts_at,
                ends_at,
                slot.usage_date,
                slot.period,
                slot.cycle_date,
                limits[slot.cycle_date] if slot.cycle_date else [],
                list(slot.prices_micro_fen_per_kwh),
                slot.fee_micro_fen_per_kwh,
            )


def limits_by_cycle(tariff: Tariff, *, first_date: date, last_date: date) -> dict[date, list[int]]:
    """The tiers' upper limits in Wh, the last tier's left out, by the first day of the cycle; nobody special."""
    windows = engine.limits(tariff, first_date=first_date, last_date=last_date)
    return {window.start_date: list(window.limits_wh) for window in windows}


def _hours(slot: Slot) -> list[datetime]:
    """The slot's ends, and the full hours between."""
    hour = slot.from_at.replace(minute=0) + HOUR
    count = -(-(slot.to_at - hour) // HOUR)
    return [slot.from_at, *(hour + HOUR * n for n in range(max(0, count))), slot.to_at]
