"""A home whose readings are rated: its tariff, its meter, its draw, and the tellings of its meter, one by one."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any

from accounts.models import Tenancy
from billing.models import Draw, PriceSlot, Purse, Tariff, TariffAssignment, TariffVersion, UsageDay
from billing.tariff import expand, parse
from billing.tariff.civil import CIVIL, civil_date, instant
from meters import partitions
from meters.models import Batch, Installation, Meter, Reading
from tests import makers

START = datetime(2026, 11, 10, tzinfo=CIVIL)
NOW = START + timedelta(days=2)
QUARTER = timedelta(minutes=15)
HOUR = timedelta(hours=1)
FIRST_DATE = date(2026, 11, 1)

ONE_PRICE = {"prices": [{"yuan": "0.50"}]}
PERIODS_AND_TIERS = {
    "periods": [{"day": {"peak": ["08:30-22:00"], "valley": "rest"}}],
    "prices": [{"yuan": {"peak": "0.56800001", "valley": "0.28800003"}, "surcharge_yuan": ["0.05", "0.30"]}],
    "tiers": {"cycle": {"months": 12}, "limits": [{"kwh": [2880, 4800]}]},
    "fee_yuan": "0.03",
}


def a_version(
    definition: Any = ONE_PRICE, *, place=None, first_date=FIRST_DATE, days=40, written: Any = None
) -> TariffVersion:
    """A published version that begins in 2026, with its slots laid out. `written`: what stands there in truth."""
    place = place or makers.a_property()
    tariff = Tariff.objects.create(property=place, name="home", created_at=START)
    version = TariffVersion.objects.create(
        tariff=tariff,
        number=1,
        starts_date=date(2026, 1, 1),
        definition=written or definition,
        state="published",
        published_at=START,
        slots_until_date=first_date + timedelta(days=days),
    )
    lay_out(version, definition, first_date=first_date, days=days)
    TariffAssignment.objects.create(
        property=place, tariff=tariff, starts_date=date(2026, 1, 1), assigned_at=START, reason="first"
    )
    return version


def lay_out(version: TariffVersion, definition: Any, *, first_date: date, days: int) -> None:
    """Slots cut at every hour, for SQL."""
    tariff = parse.tariff(definition)
    slots = expand.slots(
        tariff,
        first_date=first_date,
        last_date=first_date + timedelta(days=days - 1),
        special_days={},
    )
    PriceSlot.objects.bulk_create(
        PriceSlot(
            version=version,
            starts_at=start_at,
            ends_at=end_at,
            usage_date=slot.usage_date,
            period=slot.period,
            cycle_date=slot.cycle_date,
            limits_wh=list(window.limits_wh) if (window := tariff.window(slot.usage_date)) else [],
            prices=list(slot.prices_micro_fen_per_kwh),
            fee=slot.fee_micro_fen_per_kwh,
        )
        for slot in slots
        for start_at, end_at in _hours(slot.from_at, slot.to_at)
    )


def _hours(from_at: datetime, to_at: datetime) -> Iterable[tuple[datetime, datetime]]:
    while from_at < to_at:
        end_at = min(to_at, from_at.replace(minute=0) + HOUR)
        yield from_at, end_at
        from_at = end_at


def a_draw(version: TariffVersion | None = None, *, last_wh: int = 100_000, cycle_wh: int = 0, **more: Any) -> Draw:
    """A home whose meter hung before START and showed `last_wh` then. `ct_ratio` is the installation's too."""
    version = version or a_version()
    partitions.make_months(now=START)
    tenancy = makers.a_tenancy(room=makers.a_room(place=version.tariff.property), starts_at=START)
    purse = Purse.objects.create(property=tenancy.property, tenancy=tenancy, look_below_fen=-(10**9))
    meter = makers.a_meter(place=tenancy.property)
    hung = Installation.objects.create(
        property=tenancy.property,
        room=tenancy.room,
        meter=meter,
        starts_at=START,
        starts_wh=last_wh,
        ct_ratio=more.get("ct_ratio", 1),
    )
    first = version.slots.order_by("starts_at").filter(starts_at__gte=START).first()
    return Draw.objects.create(
        **{
            "property": tenancy.property,
            "room": tenancy.room,
            "installation": hung,
            "meter": meter,
            "purse": purse,
            "tenancy": tenancy,
            "starts_at": START,
            "counted_by": "server",
            "last_at": START,
            "last_wh": last_wh,
            "cycle_wh": cycle_wh,
            "day_date": civil_date(START),
            "closed_until": civil_date(START),
            "version": version,
            "max_power_w": 13_200,
            "cycle_date": first.cycle_date if first else None,
            "plain_until_at": instant(date(2026, 12, 11)),
            "is_plain": True,
        }
        | more
    )


def another_draw(draw: Draw, **more: Any) -> Draw:
    """One that follows upon another, with a tenancy and a purse of its own."""
    assert draw.tenancy
    Tenancy.objects.filter(pk=draw.tenancy.pk).update(ends_at=more["starts_at"])
    tenancy = makers.a_tenancy(room=draw.room, starts_at=more["starts_at"], ends_at=more["ends_at"])
    values = {field.attname: getattr(draw, field.attname) for field in Draw._meta.concrete_fields if field.name != "id"}
    values |= {"last_at": more["starts_at"], "is_current": False, "is_plain": False}
    given = {f"{name}_id" if name in ("meter", "installation") else name: value for name, value in more.items()}
    given = {name: getattr(value, "pk", value) for name, value in given.items()}
    purse = Purse.objects.create(property=tenancy.property, tenancy=tenancy, look_below_fen=-(10**9))
    return Draw.objects.create(**values | given | {"tenancy_id": tenancy.pk, "purse_id": purse.pk})


def tell(told: Iterable[tuple[Meter | int, datetime, int]], *, stored_at: datetime = NOW, **more: Any) -> Batch | None:
    """What intake writes of readings (meter, instant, register): the new ones, and the batch that names them."""
    known = set(Reading.objects.values_list("meter_id", "read_at"))
    new: dict[tuple[int, datetime], int] = {}
    for meter, read_at, import_wh in told:
        meter_id = meter if isinstance(meter, int) else meter.pk
        if (meter_id, read_at) not in known:
            new.setdefault((meter_id, read_at), import_wh)
    places = dict(Meter.objects.filter(pk__in={meter for meter, _ in new}).values_list("pk", "property_id"))
    Reading.objects.bulk_create(
        Reading(
            meter_id=meter,
            read_at=read_at,
            property_id=places[meter],
            received_at=stored_at,
            import_wh=import_wh,
            relay="closed",
            **more,
        )
        for (meter, read_at), import_wh in new.items()
    )
    first: dict[int, datetime] = {}
    for meter, read_at in sorted(new, key=lambda one: one[1]):
        first.setdefault(meter, read_at)
    if not new:
        return None
    instants = [read_at for _meter, read_at in new]
    return Batch.objects.create(
        stored_at=stored_at,
        meter_ids=list(first),
        from_at=list(first.values()),
        readings=len(new),
        first_at=min(instants),
        last_at=max(instants),
    )


def a_closed_day(
    draw: Draw,
    on: date,
    *,
    opens: tuple[datetime, int],
    closes: tuple[datetime, int],
    energy_wh: int = 0,
    cost_nano: int = 0,
) -> UsageDay:
    """A day of the draw as closing writes it, and the draw as it stands after it."""
    Draw.objects.filter(pk=draw.pk).update(closed_until=on + timedelta(days=1), closed_nano=cost_nano)
    return UsageDay.objects.create(
        draw=draw,
        usage_date=on,
        property=draw.property,
        purse=draw.purse,
        opens_at=opens[0],
        opens_wh=opens[1],
        closes_at=closes[0],
        closes_wh=closes[1],
        cycle_before_wh=0,
        energy_wh=energy_wh,
        cost_nano=cost_nano,
        fee_nano=0,
        slot_wh=[0] * 24,
        lines=[{"version": draw.version_id}],
    )
