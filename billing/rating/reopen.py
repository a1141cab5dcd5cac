"""Closed days are opened again when something that they were computed from has changed: a late reading, a ruling of
staff, a final price, a tenancy that began or ended otherwise.

Nothing that was kept is taken away. The draws of the room go back to the first day concerned, so that what is accrued
says at once what the engine says now; closing comes by those days once more, and what differs is kept and posted as a
revision. What a day has posted so far stays with it until then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Final

from django.conf import settings
from django.db.models import F, Min, Sum

from billing.models import Draw, UsageDay
from billing.tariff.civil import civil_date
from notifications import worklist

MONTH = timedelta(days=31)
TOO_OLD: Final = "days_too_old"  # a kind of work item


def first_closed(draw_ids: Iterable[int], *, from_at: datetime) -> date | None:
    """The first closed day that news from an instant on changes: a day ends between two readings, so what comes before
    the second of them changes it. Plan: the key of the draws' days."""
    days = UsageDay.objects.filter(
        draw__in=list(draw_ids), closes_at__gt=from_at, usage_date__lt=F("draw__closed_until")
    )
    first: date | None = days.aggregate(first=Min("usage_date"))["first"]
    return first


def oldest_date(now: datetime) -> date:
    """The first day that can still be opened again: the readings of those before it may be gone."""
    return civil_date(now) - MONTH * settings.READINGS_KEPT_MONTHS


def back_to(draws: Sequence[Draw], first_date: date, *, now: datetime) -> None:
    """Sets all draws of a room, which the caller holds, back to the beginning of a day: their meters fill the same
    tiers. Days before the oldest one stay as they were kept and posted, and are put before a person."""
    oldest = oldest_date(now)
    if first_date < oldest:
        _list(draws, first_date, oldest, now)
        first_date = oldest
    for draw in draws:
        until = max(first_date, civil_date(draw.starts_at))
        if draw.closed_until <= until:
            continue
        days = UsageDay.objects.filter(draw=draw, usage_date__gte=until, usage_date__lt=draw.closed_until)
        sums = days.aggregate(cost=Sum("cost_nano", default=0), fee=Sum("fee_nano", default=0))
        draw.closed_until, draw.revision = until, draw.revision + 1
        draw.closed_nano -= int(sums["cost"] + sums["fee"])
        draw.save(update_fields=["closed_until", "closed_nano", "revision"])


def _list(draws: Sequence[Draw], first_date: date, oldest: date, now: datetime) -> None:
    """One work item a property and first day, however many rooms: what one special day changes, it changes for all."""
    for property_id in sorted({draw.property_id for draw in draws}):
        detail = {"since": first_date.isoformat(), "until": oldest.isoformat()}
        key = f"{TOO_OLD}:{property_id}:{first_date}"
        worklist.raise_item(key=key, kind=TOO_OLD, property_id=property_id, detail=detail, trace="", now=now)
