"""Streets of homes whose power is counted: tariffs, tenancies, meters and draws, as many as asked for.

Each home has a meter that the server rates and a tenant. Twenty published tariffs (four periods, three tiers a year),
one a building, at ten properties. Django is set up when this runs.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final

from accounts.models import Building, Property, Room, Tenancy
from billing import tariffs
from billing.models import Draw, Purse, SupplyPrice, Tariff, TariffAssignment, TariffVersion
from billing.tariff import units
from billing.tariff.civil import civil_date, instant
from meters.intake import Frame, Heard
from meters.models import Installation, Meter, MeterModel
from meters.wire.base import Report, Telemetry

PROPERTIES: Final = 10
BUILDINGS: Final = 20
BATCH: Final = 2000
STARTS: Final = date(2026, 1, 1)
QUARTER: Final = timedelta(minutes=15)
LATE_PER_10000, TWICE_PER_10000 = 5, 100

DEFINITION: Final[dict[str, Any]] = {
    "periods": [
        {
            "day": {
                "sharp": ["19:00-21:00"],
                "peak": ["08:00-11:00", "17:00-19:00"],
                "valley": ["23:00-07:00"],
                "flat": "rest",
            }
        }
    ],
    "prices": [
        {
            "yuan": {"sharp": "0.92", "peak": "0.75", "flat": "0.56", "valley": "0.31"},
            "surcharge_yuan": ["0.05", "0.30"],
        }
    ],
    "tiers": {"cycle": {"months": 12}, "limits": [{"kwh": [2760, 4800]}]},
    "fee_yuan": "0.03",
}


class Streets:
    """Homes, and what their meters say. `begins_at` is when they were last read: the registers stand at 0."""

    def __init__(self, *, begins_at: datetime) -> None:
        self.at = begins_at
        self._begins_at = begins_at
        self._serial = itertools.count(1)
        self._model = MeterModel.objects.create(name="rated", balance_held_by="server", has_display=False)
        places = [Property.objects.create(code=f"street{n}", name=f"Street {n}") for n in range(PROPERTIES)]
        self._buildings = [
            Building.objects.create(property=places[n % PROPERTIES], name=str(n)) for n in range(BUILDINGS)
        ]
        for place in places:
            SupplyPrice.objects.create(
                property=place,
                starts_date=STARTS,
                prices={"all": units.price("2")},
                source="bench",
                entered_at=begins_at,
            )
        self._versions = [self._tariff(building) for building in self._buildings]
        self.addresses: list[tuple[str, str]] = []
        self._late: list[Heard] = []
        self.wh: list[int] = []

    def _tariff(self, building: Building) -> TariffVersion:
        tariff = Tariff.objects.create(property=building.property, name=building.name, created_at=self.at)
        TariffAssignment.objects.create(
            property=building.property, tariff=tariff, building=building, starts_date=STARTS, assigned_at=self.at
        )
        draft = TariffVersion.objects.create(tariff=tariff, number=1, starts_date=STARTS, definition=DEFINITION)
        tariffs.publish(version_id=draft.pk, by=None, reason="", now=self.at)
        return TariffVersion.objects.get(pk=draft.pk)  # with how far its prices are laid out

    def add(self, count: int, *, since: datetime | None = None) -> None:
        """So many homes more, plain ones: their tariff is laid out and nothing waits."""
        for start in range(0, count, BATCH):
            self._add(min(BATCH, count - start), since or self._begins_at)

    def _add(self, count: int, since: datetime) -> None:
        numbers = [next(self._serial) for _ in range(count)]
        buildings = [self._buildings[n % BUILDINGS] for n in numbers]
        rooms = Room.objects.bulk_create(
            Room(property_id=building.property_id, building=building, number=str(n))
            for n, building in zip(numbers, buildings, strict=True)
        )
        tenancies = Tenancy.objects.bulk_create(
            Tenancy(property_id=room.property_id, room=room, starts_at=since) for room in rooms
        )
        purses = Purse.objects.bulk_create(
            Purse(property_id=home.property_id, tenancy=home, look_below_fen=-(10**9)) for home in tenancies
        )
        meters = Meter.objects.bulk_create(
            Meter(
                property_id=room.property_id, model=self._model, serial=f"{n:012d}", is_online=True, relay="closed",
                relay_order="closed", import_wh=0, last_seen_at=since, reported_at=since,
            )
            for n, room in zip(numbers, rooms, strict=True)
        )  # fmt: skip
        hung = Installation.objects.bulk_create(
            Installation(property_id=room.property_id, room=room, meter=meter, starts_at=since)
            for room, meter in zip(rooms, meters, strict=True)
        )
        Draw.objects.bulk_create(self._draw(n, one, purse) for n, one, purse in zip(numbers, hung, purses, strict=True))
        self.addresses += [
            (building.property.code, meter.serial) for building, meter in zip(buildings, meters, strict=True)
        ]
        self.wh += [0] * count

    def _draw(self, n: int, hung: Installation, purse: Purse) -> Draw:
        version, on = self._versions[n % BUILDINGS], civil_date(hung.starts_at)
        return Draw(
            property_id=hung.property_id,
            room_id=hung.room_id,
            installation=hung,
            meter_id=hung.meter_id,
            purse=purse,
            tenancy_id=purse.tenancy_id,
            starts_at=hung.starts_at,
            counted_by="server",
            last_at=hung.starts_at,
            last_wh=0,
            day_date=on,
            closed_until=on,
            version=version,
            max_power_w=self._model.max_power_w,
            cycle_date=date(on.year, 1, 1),
            plain_until_at=instant(version.slots_until_date or on),
            is_plain=True,
        )

    def say(self, count: int, *, dice: random.Random) -> list[Heard]:
        """So many meters tell their registers a quarter of an hour after the last time: some twice, and a few tell
        something older the next time, after its successor."""
        self.at += QUARTER
        said, self._late = self._late, []
        for n in dice.sample(range(len(self.wh)), k=min(count, len(self.wh))):
            self.wh[n] += dice.randint(0, 240)
            one = self._heard(n, self.at, self.wh[n])
            said.append(one)
            if dice.randrange(10_000) < TWICE_PER_10000:
                said.append(one)
            elif dice.randrange(10_000) < LATE_PER_10000:
                self._late.append(self._heard(n, self.at - timedelta(minutes=1), self.wh[n]))
        return said

    def _heard(self, n: int, at: datetime, wh: int) -> Heard:
        address = self.addresses[n]
        report = Report(at=at, import_wh=wh, relay="closed", order="closed", generation=0)
        frame = Frame(f"m/{address[0]}/{address[1]}/up", b"", at + timedelta(seconds=1))
        return Heard(address, Telemetry(id=f"{n}-{at.timestamp():.0f}", readings=(report,)), frame)


def registers() -> dict[str, int]:
    """The register at which each meter's draw stands, by serial."""
    rows = Draw.objects.filter(is_current=True).values_list("meter__serial", "last_wh")
    return dict(rows)


def check_all_is_rated(streets: Streets, said: Sequence[Heard]) -> None:
    """Raises RuntimeError unless every draw stands at the newest register of its meter, with nothing waiting."""
    from billing.models import Backlog
    from meters.models import Batch

    newest: dict[str, int] = {}
    for one in said:
        if isinstance(one.message, Telemetry):
            wh = max(report.import_wh for report in one.message.readings)
            newest[one.address[1]] = max(wh, newest.get(one.address[1], 0))
    stands = registers()
    wrong = sum(stands[serial] != wh for serial, wh in newest.items())
    if wrong or Batch.objects.exists() or Backlog.objects.exists():
        raise RuntimeError(f"{wrong} of {len(newest)} meters are not rated to their register: not a benchmark, a fault")
