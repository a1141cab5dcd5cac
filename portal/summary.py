"""The day before, told to the staff of each property at half past eight: money, light, energy, what waits for them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from django.db.models import Count, Q, Sum
from django.utils.translation import gettext as _

from accounts.models import Tenancy
from billing import money
from billing.models import Alert, Blackout, UsageDay
from billing.tariff import units
from billing.tariff.civil import civil_date, instant
from notifications import languages, outbox
from notifications.models import WorkItem
from payments.models import CounterReceipt, Payment

KIND: Final = "daily_summary"  # of a message
AT_MINUTE: Final = 8 * 60 + 30  # of the civil day
DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A property's day; homes as they stand when it is told. `energy_wh` is of the days that are closed by then."""

    day: date
    recharges: int = 0
    recharged_fen: int = 0
    homes: int = 0
    homes_low: int = 0
    homes_off: int = 0
    energy_wh: int = 0
    work_items: int = 0

    def in_words(self) -> str:
        return _(
            "%(recharges)s recharges, %(recharged)s; %(energy)s kWh; %(homes)s homes, %(low)s low, %(off)s without"
            " power; %(items)s open on the work list"
        ) % {
            "recharges": self.recharges,
            "recharged": money.shown(self.recharged_fen),
            "energy": units.kwh(self.energy_wh),
            "homes": self.homes,
            "low": self.homes_low,
            "off": self.homes_off,
            "items": self.work_items,
        }


def tell(*, now: datetime) -> int:
    """Leaves today's summaries, once, from half past eight on. Returns for how many properties there is one."""
    today = civil_date(now)
    if now < instant(today, minute=AT_MINUTE):
        return 0
    summaries = of(day=today - DAY, now=now)
    for property_id, summary in sorted(summaries.items()):
        outbox.leave(
            key=f"{KIND}:{property_id}:{today}",
            kind=KIND,
            tenancy_id=None,
            property_id=property_id,
            context=_context(summary),
            now=now,
        )
    return len(summaries)


def _context(summary: Summary) -> dict[str, Any]:
    return {
        "day": summary.day.isoformat(),
        "recharges": summary.recharges,
        "recharged_fen": summary.recharged_fen,
        "homes": summary.homes,
        "homes_low": summary.homes_low,
        "homes_off": summary.homes_off,
        "energy_wh": summary.energy_wh,
        "work_items": summary.work_items,
        "summary": languages.in_each(summary.in_words),
    }


def of(*, day: date, now: datetime) -> dict[int, Summary]:
    """By property where somebody lives. A query a figure, for all properties together."""
    living = Tenancy.objects.filter(Q(ends_at=None) | Q(ends_at__gt=now), starts_at__lte=now)
    homes = dict(living.values_list("property").annotate(Count("pk")))
    recharged = _recharged(day)
    low = Alert.objects.filter(over_at=None).values_list("purse__property")
    off = Blackout.objects.filter(ended_at=None).values_list("purse__property")
    low_homes, off_homes = (dict(rows.annotate(Count("purse", distinct=True))) for rows in (low, off))
    used = UsageDay.objects.filter(property__in=list(homes), usage_date=day).values_list("property")
    energy_wh = dict(used.annotate(Sum("energy_wh")))
    items = WorkItem.objects.filter(state=WorkItem.State.OPEN, property__in=list(homes)).values_list("property")
    open_items = dict(items.annotate(Count("pk")))
    return {
        place: Summary(
            day=day,
            recharges=recharged.get(place, (0, 0))[0],
            recharged_fen=recharged.get(place, (0, 0))[1],
            homes=count,
            homes_low=low_homes.get(place, 0),
            homes_off=off_homes.get(place, 0),
            energy_wh=energy_wh.get(place, 0),
            work_items=open_items.get(place, 0),
        )
        for place, count in homes.items()
    }


def _recharged(day: date) -> dict[int, tuple[int, int]]:
    """How many, and fen, by property: through providers and at the counter, but what was corrected."""
    from_at, to_at = instant(day), instant(day + DAY)
    paid = Payment.objects.filter(state=Payment.State.CREDITED, found_at__gte=from_at, found_at__lt=to_at)
    taken = CounterReceipt.objects.filter(taken_at__gte=from_at, taken_at__lt=to_at, corrected_at=None)
    sums: dict[int, tuple[int, int]] = {}
    for rows in (paid.values_list("property"), taken.values_list("property")):
        for place, count, fen in rows.annotate(Count("pk"), Sum("amount_fen")):
            if place is not None:
                had = sums.get(place, (0, 0))
                sums[place] = (had[0] + count, had[1] + fen)
    return sums
