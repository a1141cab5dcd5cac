"""What a home pays per kilowatt-hour today: the periods of the day, the tiers, the service fee, and what comes next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from accounts.models import Tenancy
from billing import tariffs
from billing.models import Draw, PriceSlot, SupplyPrice, TariffVersion
from billing.tariff.civil import civil_date, instant
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


def next_of(draws: Iterable[Draw], *, now: datetime) -> dict[int, tuple[Slot | None, Slot | None]]:
    """By draw: the price that holds now and the one that follows, today or tomorrow. What is not laid out is None.

    One query for all, which reads two days of each tariff by key; another version that begins tomorrow is in it.
    """
    tariffs_of = {draw.pk: draw.version_id for draw in draws if draw.version_id and draw.ends_at is None}
    if not tariffs_of:
        return {}
    midnight = instant(civil_date(now))
    rows = PriceSlot.objects.filter(
        version__tariff__versions__in=set(tariffs_of.values()),
        starts_at__gte=midnight,
        starts_at__lt=midnight + timedelta(days=2),
    )
    columns = ("starts_at", "ends_at", "period", "prices", "limits_wh", "fee")
    laid_out: dict[int, list[Slot]] = {}
    for version_id, *slot in rows.order_by("starts_at").values_list("version__tariff__versions", *columns):
        laid_out.setdefault(version_id, []).append(Slot(*slot))
    slots = {version_id: list(_merged(theirs)) for version_id, theirs in laid_out.items()}
    return {pk: _now_and_next(slots.get(version_id, []), now) for pk, version_id in tariffs_of.items()}


def _now_and_next(slots: Iterable[Slot], now: datetime) -> tuple[Slot | None, Slot | None]:
    ahead = [slot for slot in slots if slot.to_at > now]
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
