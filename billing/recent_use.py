"""What a home uses on a usual day: the median of its last seven closed days, or what it used today so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime, timedelta
from statistics import median
from typing import Final

from billing.models import Draw, UsageDay
from billing.tariff.civil import civil_date

DAYS: Final = 7


def a_day_nano(draws: Collection[Draw], *, now: datetime) -> int:
    """Nano-fen a day of the draws of one purse; 0 where nothing is known yet. Plan: their days by their key."""
    return by_purse(draws, now=now).get(next((draw.purse_id for draw in draws), 0), 0)


def by_purse(draws: Iterable[Draw], *, now: datetime) -> dict[int, int]:
    """The same for many purses at once, by their ids; those without a draw are left out."""
    by_id = {draw.pk: draw for draw in draws}
    since = civil_date(now) - timedelta(days=DAYS + 1)
    rows = UsageDay.objects.filter(draw__in=list(by_id), usage_date__gte=since)
    closed: dict[int, Counter[date]] = {draw.purse_id: Counter() for draw in by_id.values()}
    for draw_id, on, cost_nano, fee_nano in rows.values_list("draw_id", "usage_date", "cost_nano", "fee_nano"):
        closed[by_id[draw_id].purse_id][on] += cost_nano + fee_nano
    today: Counter[int] = Counter()
    for draw in by_id.values():
        if draw.ends_at is None or draw.is_current:
            today[draw.purse_id] += draw.day_nano
    return {
        purse_id: usual([days[on] for on in sorted(days)]) if days else today[purse_id]
        for purse_id, days in closed.items()
    }


def usual(nanos: Sequence[int]) -> int:
    """The median of the last days of these, oldest first."""
    return int(median(nanos[-DAYS:]))
