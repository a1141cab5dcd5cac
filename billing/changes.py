"""What changes supply without money: somebody moves in, a meter is hung, a property records on what basis it may cut.

Whoever writes those rows calls nobody; a sweep finds the homes that were decided before the change and decides again,
and the rooms whose draws say otherwise than their tenancies and meters.
"""

from __future__ import annotations

from datetime import datetime

from django.db import connection, transaction

from accounts.models import Tenancy
from billing import draws, prepaid, supply
from billing.models import Purse
from meters.models import Installation, MeterModel

# Plan: one pass over the open tenancies with their purses (hash joins), the installations of their rooms by index; a
# fraction of a second for a hundred thousand homes, every quarter of a minute. Homes with no meter have no supply.
_CHANGED_SINCE = """
select t.id
  from accounts_tenancy t
  join meters_installation i on i.room_id = t.room_id and i.ends_at is null and i.starts_at <= %(now)s
  left join billing_purse p on p.tenancy_id = t.id
  left join billing_supplypolicy y on y.property_id = t.property_id
  left join billing_roompolicy r on r.room_id = t.room_id
 where t.starts_at <= %(now)s and (t.ends_at is null or t.ends_at > %(now)s)
   and (p.decided_at is null or p.decided_at < greatest(t.starts_at, i.starts_at, y.recorded_at, r.changed_at))
 group by t.id
 order by t.id
 limit %(limit)s
"""

# Plan: as above, with the draws by their index on the room: a meter that nobody draws on, a stretch of a tenancy that
# has no draw or one that ends otherwise, a draw that goes on after its meter was taken down. Rooms that wait for a
# person are left out, or they would stand before all others.
_DRAWN_OTHERWISE = """
with stretch as (
    select i.room_id, i.id as installation_id, t.id as tenancy_id, greatest(t.starts_at, i.starts_at) as starts_at,
           least(t.ends_at, i.ends_at) as ends_at
      from meters_installation i
      join accounts_tenancy t on t.room_id = i.room_id
       and tstzrange(t.starts_at, t.ends_at) && tstzrange(i.starts_at, i.ends_at)
), wrong as (
    select i.room_id, i.id as installation_id from meters_installation i
     where not exists (select from billing_draw d where d.installation_id = i.id)
    union
    select s.room_id, s.installation_id
      from stretch s
      left join billing_draw d on d.installation_id = s.installation_id and d.starts_at = s.starts_at
     where d.tenancy_id is distinct from s.tenancy_id or d.ends_at is distinct from s.ends_at
    union
    select d.room_id, d.installation_id
      from billing_draw d
      join meters_installation i on i.id = d.installation_id
     where d.starts_at < i.starts_at or coalesce(d.ends_at, 'infinity') > coalesce(i.ends_at, 'infinity')
    union
    select d.room_id, d.installation_id
      from billing_draw d
      left join stretch s on s.installation_id = d.installation_id and s.starts_at = d.starts_at
     where d.tenancy_id is not null and s.tenancy_id is null
)
select distinct w.room_id
  from wrong w
 where not exists (select from notifications_workitem n
                    where n.key = 'draw_of_closed_days:' || w.installation_id and n.state = 'open')
 order by w.room_id
 limit %(limit)s
"""


def catch_up(*, now: datetime, limit: int = 500) -> int:
    """Decides for homes whose tenancy, meter or policy is younger than the last decision. Returns for how many.

    A home a transaction; money that was paid before its meter hung there goes on into it now. Whoever dies in between
    leaves the rest to the next round.
    """
    _draw_as_written(now, limit)
    with connection.cursor() as cursor:
        cursor.execute(_CHANGED_SINCE, {"now": now, "limit": limit})
        homes = [home for (home,) in cursor.fetchall()]
    for tenancy in Tenancy.objects.filter(pk__in=homes).order_by("pk"):
        purse = prepaid.purse_of(tenancy)
        with transaction.atomic():
            supply.locked(purse.pk)
            supply.decide(purse_id=purse.pk, trace="", now=now)
            _send_on(purse, tenancy, now)
    return len(homes)


def _draw_as_written(now: datetime, limit: int) -> None:
    """Who pays for energy first, so that the decision knows whose it is."""
    with connection.cursor() as cursor:
        cursor.execute(_DRAWN_OTHERWISE, {"limit": limit})
        rooms = [room for (room,) in cursor.fetchall()]
    draws.align(room_ids=rooms, now=now)


def _send_on(purse: Purse, tenancy: Tenancy, now: datetime) -> None:
    """Where meters alone hold the money, nothing that is paid stays behind in the purse."""
    hanging = Installation.objects.filter(room_id=tenancy.room_id, ends_at=None).order_by("pk")
    if hanging.filter(meter__model__balance_held_by=MeterModel.BalanceHolder.SERVER).exists():
        return
    first = hanging.first()
    if first is not None:
        key = f"onward:{purse.pk}:{now.isoformat()}"
        prepaid.send_on(key=key, purse_id=purse.pk, meter_id=first.meter_id, trace="", now=now)
