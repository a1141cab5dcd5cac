"""What a home's picture is made of, read for all homes of a person in one statement.

By the ORM it is eight queries, whose making costs ten times what they cost the database: a tenant who opens the app
waits for it. tests/portal/test_home_rows.py compares it with the ORM.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final, TypeVar

from django.db import connection
from django.db.models import Model

from accounts.models import Building, Property, Room, Tenancy, User
from billing.models import Purse, StaffHold
from billing.recent_use import DAYS
from billing.tariff.civil import civil_date
from meters.models import Level, Meter, MeterModel
from portal.prices import Slot

BIGGEST: Final = 2**63 - 1
M = TypeVar("M", bound=Model)
# Plan: the memberships of the person, each other part by an index on its tenancy, room, purse or draw. No part grows
# with the years but the draws, of which a home has one a meter it ever had.
_ROWS: Final = """
select to_jsonb(found) from (
select m.role, to_jsonb(t) as tenancy, to_jsonb(r) as room, to_jsonb(b) as building, to_jsonb(o) as property,
       to_jsonb(p) as purse, billing_available_fen(p.id) as available_fen,
       (select x.frozen_nano from billing_dispute x where x.purse_id = p.id and x.state = 'open' limit 1)
         as disputed_nano,
       (select jsonb_agg(jsonb_build_array(a.level, a.raised_at) order by a.id)
          from billing_alert a where a.purse_id = p.id and a.over_at is null) as low,
       (select jsonb_agg(jsonb_build_object('meter', to_jsonb(e), 'model', to_jsonb(k), 'relay', to_jsonb(l))
                         order by e.id)
          from meters_installation i
          join meters_meter e on e.id = i.meter_id
          join meters_metermodel k on k.id = e.model_id
          left join meters_level l on l.meter_id = e.id and l.kind = 'relay'
         where i.room_id = t.room_id and i.ends_at is null) as meters,
       (select to_jsonb(h) from billing_staffhold h
         where h.room_id = t.room_id and h.lifted_at is null and (h.until_at is null or h.until_at > %(now)s)
         order by h.id desc limit 1) as hold,
       (select jsonb_agg(jsonb_build_object('counted_by', d.counted_by, 'last_at', d.last_at, 'ends_at', d.ends_at,
                                            'day_nano', d.day_nano, 'version_id', d.version_id) order by d.id)
          from billing_draw d where d.purse_id = p.id) as draws,
       (select jsonb_agg(jsonb_build_array(n.usage_date, n.nano) order by n.usage_date)
          from (select u.usage_date, sum(u.cost_nano + u.fee_nano) as nano
                  from billing_draw d join billing_usageday u on u.draw_id = d.id
                 where d.purse_id = p.id and u.usage_date >= %(since)s
                 group by u.usage_date) n) as days,
       (select jsonb_agg(jsonb_build_array(v.id, s.starts_at, s.ends_at, s.period, s.prices, s.limits_wh, s.fee)
                         order by s.starts_at)
          from billing_tariffversion v
          join billing_tariffversion w on w.tariff_id = v.tariff_id
          join billing_priceslot s on s.version_id = w.id and s.usage_date in (%(today)s, %(tomorrow)s)
         where v.id in (select d.version_id from billing_draw d where d.purse_id = p.id and d.ends_at is null)) as slots
  from accounts_member m
  join accounts_tenancy t on t.id = m.tenancy_id
  join accounts_room r on r.id = t.room_id
  join accounts_building b on b.id = r.building_id
  join accounts_property o on o.id = b.property_id
  left join billing_purse p on p.tenancy_id = t.id
 where m.user_id = %(user)s and m.left_at is null and t.starts_at <= %(now)s
   and (t.ends_at is null or t.ends_at > %(now)s) and (%(home)s::bigint is null or t.id = %(home)s)
 order by t.id
) found
"""


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
    today: date = civil_date(now)
    asked = {
        "user": user.pk,
        "home": home_id,
        "now": now,
        "today": today,
        "tomorrow": today + timedelta(days=1),
        "since": today - timedelta(days=DAYS + 1),
    }
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
