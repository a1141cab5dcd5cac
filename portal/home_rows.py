"""What a home's picture is made of, read for all homes of a person in one statement.

By the ORM it is eight queries, whose making costs ten times what they cost the database: a tenant who opens the app
waits for it. tests/portal/test_home_rows.py compares it with the ORM.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from django.db import connection
from django.db.models import Model

from accounts.models import Building, Property, Room, Tenancy, User
from billing.models import Purse, StaffHold
from billing.recent_use import DAYS
from billing.tariff.civil import civil_date, instant
from meters.models import Level, Meter, MeterModel
from portal.prices import Slot

BIGGEST: Final = 2**63 - 1
DAY: Final = timedelta(days=1)
M = TypeVar("M", bound=Model)
# The statement is a function of the database (migration 0001_home_rows), so that it is planned once a connection:
# planning it takes longer than doing it. Plan: the memberships of the person, each other part by an index on its
# tenancy, room, purse or draw. No part grows with the years but the draws, of which a home has one a meter it ever had.
_ROWS: Final = "select portal_home_rows(%s, %s, %s, %s, %s, %s)"


@dataclass(frozen=True, slots=True)
class DrawRow:
    """Of what draws on a purse: who counts, up to when it is read, what the open day cost so far, by which prices."""

    counted_by: str
    last_at: datetime
    ends_at: datetime | None
    day_nano: int
    version_id: int | None


@dataclass(frozen=True, slots=True)
class HomeRow:
    """`tenancy` comes with room, building, property; each meter with its model and, as `relay_levels`, the level of its
    relay. `low` are levels that were reached, and since when; `day_nanos` what the last days cost, oldest first;
    `slots` by version what today and tomorrow cost."""

    role: str
    tenancy: Tenancy
    purse: Purse | None
    available_fen: int
    disputed_nano: int
    low: Sequence[tuple[str, datetime]]
    meters: Sequence[Meter]
    hold: StaffHold | None
    draws: Sequence[DrawRow]
    day_nanos: Sequence[int]
    slots: Mapping[int, Sequence[Slot]]


def of(*, user: User, home_id: int | None, now: datetime) -> list[HomeRow]:
    """The homes in which a person lives at `now` (one of them), the one they came to first at the top.

    Whose they are is decided as in accounts.scope.homes_of, which the tests compare.
    """
    if not user.is_active or (home_id or 0) > BIGGEST:
        return []
    today = civil_date(now)
    asked = [user.pk, home_id, now, instant(today), instant(today + 2 * DAY), today - (DAYS + 1) * DAY]
    with connection.cursor() as cursor:
        cursor.execute(_ROWS, asked)
        return [_row(json.loads(told)) for (told,) in cursor.fetchall()]


def _row(told: dict[str, Any]) -> HomeRow:
    return HomeRow(
        role=told["role"],
        tenancy=_tenancy(told),
        purse=_made(Purse, told["purse"]) if told["purse"] else None,
        available_fen=told["available_fen"] or 0,
        disputed_nano=told["disputed_nano"] or 0,
        low=[(level, _instant(since)) for level, since in told["low"] or ()],
        meters=[_meter(one) for one in told["meters"] or ()],
        hold=_made(StaffHold, told["hold"]) if told["hold"] else None,
        draws=[_draw(one) for one in told["draws"] or ()],
        day_nanos=[int(nano) for _on, nano in told["days"] or ()],
        slots=_slots(told["slots"] or ()),
    )


def _tenancy(told: dict[str, Any]) -> Tenancy:
    tenancy, room, building = (
        _made(Tenancy, told["tenancy"]),
        _made(Room, told["room"]),
        _made(Building, told["building"]),
    )
    place = _made(Property, told["property"])
    building.property = room.property = tenancy.property = place
    room.building, tenancy.room = building, room
    return tenancy


def _meter(told: dict[str, Any]) -> Meter:
    meter = _made(Meter, told["meter"])
    meter.model = _made(MeterModel, told["model"])
    meter.relay_levels = [_made(Level, told["relay"])] if told["relay"] else []  # type: ignore[attr-defined]  # as a prefetch leaves it
    return meter


def _draw(told: dict[str, Any]) -> DrawRow:
    ends_at = told["ends_at"] and _instant(told["ends_at"])
    return DrawRow(told["counted_by"], _instant(told["last_at"]), ends_at, told["day_nano"], told["version_id"])


def _slots(told: Sequence[Sequence[Any]]) -> dict[int, list[Slot]]:
    found: dict[int, list[Slot]] = {}
    for version_id, starts_at, ends_at, *rest in told:
        found.setdefault(version_id, []).append(Slot(_instant(starts_at), _instant(ends_at), *rest))
    return found


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _made(model: type[M], told: dict[str, Any]) -> M:
    """A row of JSON as the ORM would have loaded it."""
    fields = model._meta.concrete_fields  # noqa: SLF001 (Django's own interface)
    names = [field.attname for field in fields]
    values = [field.to_python(told[name]) for field, name in zip(fields, names, strict=True)]
    return model.from_db(connection.alias, names, values)
