"""What a home pays per kilowatt-hour today: the periods of the day, the tiers, the service fee, and what comes next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from accounts.models import Tenancy
from billing import tariffs
from billing.models import PriceSlot, SupplyPrice, TariffVersion
from billing.tariff.civil import civil_date
from meters.models import Installation

AHEAD = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class Slot:
    """A stretch of the day at one price; `prices` in micro-fen per kWh by tier, the fee not in them."""

    from_at: datetime
    to_at: datetime
    period: str
    prices: list[int]
    limits_wh: list[int]
    fee: int


@dataclass(frozen=True, slots=True)
class Prices:
    """`slots` are today's, by the tariff that holds for the meter; `supply` is what the property itself pays."""

    serial: str
    version: TariffVersion | None
    slots: list[Slot]
    coming: TariffVersion | None
    supply: SupplyPrice | None


def prices_of(*, tenancy: Tenancy, now: datetime) -> list[Prices]:
    """The prices of each meter that hangs in the home, today."""
    today = civil_date(now)
    hanging = Installation.objects.filter(room=tenancy.room_id, ends_at=None).select_related("meter").order_by("pk")
    spans = tariffs.in_force(installation_ids=[one.pk for one in hanging], from_date=today, to_date=today + AHEAD)
    versions = TariffVersion.objects.select_related("tariff").in_bulk(
        [span.version_id for each in spans.values() for span in each if span.version_id]
    )
    supply = SupplyPrice.objects.filter(property=tenancy.property_id, starts_date__lte=today)
    paid = supply.order_by("-starts_date").first()
    found = []
    for one in hanging:
        now_span, *later = spans[one.pk]
        coming = next((versions[span.version_id] for span in later if span.version_id), None)
        version = versions.get(now_span.version_id) if now_span.version_id else None
        found.append(Prices(one.meter.serial, version, list(_slots(version, today)), coming, paid))
    return found


def now_and_next(slots: Iterable[Slot], now: datetime) -> tuple[Slot | None, Slot | None]:
    """The price that holds and the one that follows, of slots in their order; None where nothing is laid out."""
    ahead = [slot for slot in _merged(slots) if slot.to_at > now]
    current = ahead.pop(0) if ahead and ahead[0].from_at <= now else None
    return current, next(iter(ahead), None)


def _slots(version: TariffVersion | None, on: date) -> Iterator[Slot]:
    rows = PriceSlot.objects.filter(version=version, usage_date=on).order_by("starts_at") if version else ()
    return _merged(Slot(row.starts_at, row.ends_at, row.period, row.prices, row.limits_wh, row.fee) for row in rows)


def _merged(slots: Iterable[Slot]) -> Iterator[Slot]:
    """Neighbours at the same price are one."""
    last: Slot | None = None
    for slot in slots:
        if last and (last.period, last.prices, last.fee) == (slot.period, slot.prices, slot.fee):
            last = replace(last, to_at=slot.to_at)
            continue
        if last:
            yield last
        last = slot
    if last:
        yield last
