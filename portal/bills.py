"""The months of a home that have a bill, newest first, each with its energy and its amount."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Final

from django.db.models import F, Sum

from accounts.models import Tenancy
from billing.bills import following
from billing.models import Draw, UsageMonth
from billing.tariff import units
from billing.tariff.civil import instant

AT_MOST: Final = 60


@dataclass(frozen=True, slots=True)
class Month:
    """A month with closed days, as its bill says it (billing/bills.py): `amount_fen` with the service fee, rounded
    once. `is_final`: all of its days are closed that were the home's."""

    month_date: date
    energy_wh: int
    amount_fen: int
    is_final: bool


@dataclass(frozen=True, slots=True)
class Page:
    """`following` is the first day of the month to go on before, None on the last page."""

    months: list[Month]
    following: date | None


def page_of(*, tenancy: Tenancy, before: date | None, at_most: int) -> Page:
    """The months before the one that begins on `before` (None: the newest on). Plan: the home's draws and their months'
    rows, by key: one row a meter and month."""
    draws = list(Draw.objects.filter(tenancy=tenancy))
    rows = UsageMonth.objects.filter(draw__in=draws, days__gt=0)
    if before is not None:
        rows = rows.filter(month_date__lt=before)
    sums = rows.values("month_date").annotate(wh=Sum("energy_wh"), nano=Sum(F("cost_nano") + F("fee_nano")))
    limit = min(at_most, AT_MOST)
    found = list(sums.order_by("-month_date")[: limit + 1])
    months = [
        Month(row["month_date"], row["wh"], units.to_fen(int(row["nano"])), _is_final(row["month_date"], draws))
        for row in found[:limit]
    ]
    return Page(months, months[-1].month_date if len(found) > limit else None)


def _is_final(month_date: date, draws: Iterable[Draw]) -> bool:
    """As the bill's message is sent (billing/bill_news.py)."""
    next_at = instant(following(month_date))
    theirs = (draw for draw in draws if draw.starts_at < next_at)
    return all(min(draw.ends_at or next_at, next_at) <= instant(draw.closed_until) for draw in theirs)
