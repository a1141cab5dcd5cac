"""A town of homes whose power is off, each with an order that is about to be paid. Django is set up when this runs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.db import connection
from django.utils import timezone

from accounts.models import Building, Property, Room, Tenancy, User
from billing.models import Purse, SupplyPolicy
from meters.models import Installation, Level, Meter, MeterModel
from payments.models import Attempt, Merchant, MerchantProperty, Order, ProviderKey
from sandbox.world import World

SLUG = "bench"
AMOUNT_FEN = 5000
PROPERTIES = 10
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
BATCH = 1000


@dataclass(frozen=True, slots=True)
class Home:
    """Where a recharge goes: the attempt's number is what its payer's provider calls back with."""

    attempt: str
    property_code: str
    serial: str
    meter_id: int
    held_by: str


class Town:
    """Ten properties of one merchant, what they may cut for, and homes as many as asked for."""

    def __init__(self, world: World, *, has_display: bool = True) -> None:
        self._serial = itertools.count(1)
        self._user = User.objects.create(username="payer", name="王小明")
        self._merchant = _merchant(world)
        self._places = [_place(n, self._merchant) for n in range(PROPERTIES)]
        self._buildings = [Building.objects.create(property=place, name="1") for place in self._places]
        self._models = {
            held_by: MeterModel.objects.create(name=f"{held_by}-held", balance_held_by=held_by, has_display=has_display)
            for held_by in ("server", "meter")
        }

    def add(self, count: int, *, held_by: str) -> list[Home]:
        """Homes whose balance is spent and whose relay is open, each with an order of 50.00 yuan ready to be paid."""
        homes: list[Home] = []
        for start in range(0, count, BATCH):
            homes += self._add(min(BATCH, count - start), held_by)
        return homes

    def _add(self, count: int, held_by: str) -> list[Home]:
        numbers = [next(self._serial) for _ in range(count)]
        now = timezone.now()
        rooms = Room.objects.bulk_create(self._rooms(numbers))
        tenancies = Tenancy.objects.bulk_create(
            Tenancy(property_id=room.property_id, room=room, starts_at=LONG_AGO) for room in rooms
        )
        purses = Purse.objects.bulk_create(
            Purse(property_id=tenancy.property_id, tenancy=tenancy) for tenancy in tenancies
        )
        meters = Meter.objects.bulk_create(self._meters(rooms, numbers, held_by, now))
        Installation.objects.bulk_create(
            Installation(property_id=room.property_id, room=room, meter=meter, starts_at=LONG_AGO)
            for room, meter in zip(rooms, meters, strict=True)
        )
        Level.objects.bulk_create(level for meter in meters for level in self._levels(meter, held_by, now))
        orders = Order.objects.bulk_create(self._orders(purses, meters, numbers, held_by, now))
        attempts = Attempt.objects.bulk_create(self._attempts(orders, now))
        return [
            Home(attempt.number, self._places[n % PROPERTIES].code, meter.serial, meter.pk, held_by)
            for n, attempt, meter in zip(numbers, attempts, meters, strict=True)
        ]

    def _rooms(self, numbers: Sequence[int]) -> Iterator[Room]:
        for n in numbers:
            building = self._buildings[n % PROPERTIES]
            yield Room(property_id=building.property_id, building=building, number=str(n))

    def _meters(self, rooms: Sequence[Room], numbers: Sequence[int], held_by: str, now: datetime) -> Iterator[Meter]:
        for room, n in zip(rooms, numbers, strict=True):
            yield Meter(
                property_id=room.property_id,
                model=self._models[held_by],
                serial=f"{n:012d}",
                is_online=True,
                last_seen_at=now,
                relay="open",
                relay_order="open" if held_by == "server" else "auto",
            )

    def _levels(self, meter: Meter, held_by: str, now: datetime) -> Iterator[Level]:
        """Wishes and meters agree: the relay is open for want of money, and a display shows nothing left."""
        wishes = {"relay": "open" if held_by == "server" else "auto"}
        if held_by == "server" and self._models[held_by].has_display:
            wishes["show"] = "0"
        for kind, value in wishes.items():
            yield Level(
                meter=meter, kind=kind, wanted=value, reason="spent", wanted_at=now, reported=value, reported_at=now,
                agreed_at=now, next_try_at=now,
            )  # fmt: skip

    def _orders(
        self, purses: Sequence[Purse], meters: Sequence[Meter], numbers: Sequence[int], held_by: str, now: datetime
    ) -> Iterator[Order]:
        for purse, meter, n in zip(purses, meters, numbers, strict=True):
            yield Order(
                number=f"R{n:020d}",
                property_id=purse.property_id,
                tenancy_id=purse.tenancy_id or 0,
                purse=purse,
                meter=meter if held_by == "meter" else None,
                user=self._user,
                amount_fen=AMOUNT_FEN,
                idempotency_key=f"key-{n}",
                request_digest="0" * 64,
                trace=f"{n:032x}",
                placed_at=now,
            )

    def _attempts(self, orders: Sequence[Order], now: datetime) -> Iterator[Attempt]:
        for order in orders:
            yield Attempt(
                order=order,
                property_id=order.property_id,
                merchant=self._merchant,
                channel="wechat_mini",
                number=f"A{order.number[1:]}",
                payer="sandbox-openid",
                app_id=self._merchant.app_id,
                amount_fen=order.amount_fen,
                state="ready",
                made_at=now,
                expires_at=now + timedelta(hours=1),
                next_ask_at=now + timedelta(hours=1),
            )


def _place(n: int, merchant: Merchant) -> Property:
    place = Property.objects.create(code=f"bench{n}", name=f"Garden {n}")
    MerchantProperty.objects.create(merchant=merchant, property=place, starts_at=LONG_AGO)
    SupplyPolicy.objects.create(property=place, legal_basis="lease", notice="7 days", recorded_at=LONG_AGO)
    return place


def _merchant(world: World) -> Merchant:
    facts: dict[str, Any] = world.info["wechat"]["direct"]
    merchant = Merchant.objects.create(
        slug=SLUG,
        name="Benchmark",
        provider="wechat",
        account=facts["mchid"],
        app_id=facts["appid"],
        private_key_ref=f"file:{facts['key_file']}",
        api_key_ref=f"file:{facts['apiv3_key_file']}",
        certificate_serial=facts["serial"],
        is_sandbox=True,
    )
    pem = Path(facts["public_key_file"]).read_text()
    ProviderKey.objects.create(merchant=merchant, kind="public_key", serial=facts["public_key_id"], pem=pem)
    return merchant


# Each payment by its order: credited once, by one entry of one or two transfers, and the meter told.
_WHOLE = """
select count(*)
  from payments_attempt a
  join payments_order o on o.id = a.order_id and o.state = 'paid'
  join payments_payment p on p.order_id = o.id and p.state = 'credited' and p.amount_fen = o.amount_fen
  join billing_journalentry e on e.key = 'payment:' || p.id
  join billing_transfer t on t.entry_id = e.id and t.line = 1 and t.amount_fen = o.amount_fen
  join billing_purse w on w.id = o.purse_id
       and w.paid_fen + w.subsidy_fen + w.in_transit_fen + w.in_meter_fen = o.amount_fen
  join accounts_tenancy y on y.id = o.tenancy_id
  join meters_installation i on i.room_id = y.room_id
  join meters_level l on l.meter_id = i.meter_id and l.kind = 'relay' and l.wanted in ('closed', 'auto')
  join payments_providerevent v on v.event_id <> '' and v.state = 'done' and v.receipt ->> 'attempt_number' = a.number
 where a.number = any(%s)
   and exists (select from meters_command c where c.meter_id = i.meter_id
               union all select from meters_topup u where u.meter_id = i.meter_id)
"""


def check_each_is_credited_once(homes: Sequence[Home]) -> None:
    """Raises RuntimeError unless each order is paid, by one payment, one entry, one purse's credit, with a command."""
    with connection.cursor() as cursor:
        cursor.execute(_WHOLE, [[home.attempt for home in homes]])
        (whole,) = cursor.fetchone()
    if whole != len(homes):
        raise RuntimeError(f"{whole} of {len(homes)} payments are whole: this is not a benchmark but a fault")
