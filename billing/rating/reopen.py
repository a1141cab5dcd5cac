"""Closed days are opened again when something that they were computed from has changed: a late reading, a ruling of
staff, a final price, a tenancy that began or ended otherwise.

Nothing that was kept is taken away. The draws of the room go back to the first day concerned, so that what is accrued
says at once what the engine says now; closing comes by those days once more, and what differs is kept and posted as a
revision. What a day has posted so far stays with it until then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta

from django.conf import settings
from django.db.models import F, Min, Sum

from billing.models import Draw, UsageDay
from billing.tariff.civil import civil_date

MONTH = timedelta(days=31)


class ClosedDayError(Exception):
    """A closed day would change, and the readings that it was computed from are no longer kept."""


def first_closed(draw_ids: Iterable[int], *, from_at: datetime) -> date | None:
    """The first closed day that news from an instant on changes: a day ends between two readings, so what comes before
    the second of them changes it. Plan: the key of the draws' days."""
    days = UsageDay.objects.filter(
        draw__in=list(draw_ids), closes_at__gt=from_at, usage_date__lt=F("draw__closed_until")
    )
    first: date | None = days.aggregate(first=Min("usage_date"))["first"]
    return first


def back_to(draws: Sequence[Draw], first_date: date, *, now: datetime) -> None:
    """Sets all draws of a room, which the caller holds, back to the beginning of a day: their meters fill the same
    tiers. Raises ClosedDayError for a day whose readings are gone."""
    if first_date < civil_date(now) - MONTH * settings.READINGS_KEPT_MONTHS:
        raise ClosedDayError(f"{first_date} is closed, would change, and its readings are gone")
    for draw in draws:
        until = max(first_date, civil_date(draw.starts_at))
        if draw.closed_until <= until:
            continue
        days = UsageDay.objects.filter(draw=draw, usage_date__gte=until, usage_date__lt=draw.closed_until)
        sums = days.aggregate(cost=Sum("cost_nano", default=0), fee=Sum("fee_nano", default=0))
        draw.closed_until, draw.revision = until, draw.revision + 1
        draw.closed_nano -= int(sums["cost"] + sums["fee"])
        draw.save(update_fields=["closed_until", "closed_nano", "revision"])
