"""Homes whose power is off, and that are told: why, how it comes back, and when it is back.

True is what meters report. A home is dark where a meter of its reports itself open that we want open, or that goes by
money of its own; it has light again when all of them report themselves closed. A gateway asks at once for the meters
whose relay has moved, rounds look for what was missed. Whoever begins or ends a blackout holds the purse.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import connection, transaction

from accounts.models import Tenancy
from billing import explanation, supply
from billing.interruptions import BY_ITSELF
from billing.models import Blackout, Purse
from meters.models import Installation, Level, Meter, Relay
from notifications import languages, outbox

OFF, BACK = "power_off", "power_back"  # kinds of messages
DARK: Final = (Relay.OPEN, Relay.PERMITTED)

# Plan: levels that are wanted open by their partial index, blackouts that last by theirs; rooms, tenancies and purses
# by index. Homes are few among these that are not told already.
_MOVED = """
with off as (
    select i.room_id, l.reason
      from meters_level l
      join meters_meter m on m.id = l.meter_id and m.relay in ('open', 'permitted')
      join meters_installation i on i.meter_id = l.meter_id and i.ends_at is null
     where l.kind = 'relay' and l.wanted = 'open'
), untold as (
    select p.id
      from off
      join accounts_tenancy t on t.room_id = off.room_id and t.starts_at <= %(now)s
       and (t.ends_at is null or t.ends_at > %(now)s)
      join billing_purse p on p.tenancy_id = t.id
      left join billing_blackout b on b.purse_id = p.id and b.ended_at is null
     where b.id is null or b.cause <> left(off.reason, 16)
), lasting as (
    select b.purse_id
      from billing_blackout b
      join billing_purse p on p.id = b.purse_id
      join accounts_tenancy t on t.id = p.tenancy_id
     where b.ended_at is null and (t.ends_at <= %(now)s or (
        select bool_and(m.relay = 'closed')
          from meters_installation i
          join meters_meter m on m.id = i.meter_id
         where i.room_id = t.room_id and i.ends_at is null))
)
select id from untold union select purse_id from lasting order by 1 limit %(limit)s
"""
# Plan: one pass over the meters that hold their money and hang, each minute.
_BY_ITSELF = """
select p.id
  from meters_metermodel k
  join meters_meter m on m.model_id = k.id and m.relay in ('open', 'permitted')
  join meters_installation i on i.meter_id = m.id and i.ends_at is null
  join accounts_tenancy t on t.room_id = i.room_id and t.starts_at <= %(now)s
   and (t.ends_at is null or t.ends_at > %(now)s)
  join billing_purse p on p.tenancy_id = t.id
 where k.balance_held_by = 'meter'
   and not exists (select from billing_blackout b where b.purse_id = p.id and b.ended_at is null)
 order by p.id
 limit %(limit)s
"""
# Plan: installations, tenancies, purses and blackouts by index.
_OF_METERS = """
select distinct p.id
  from meters_installation i
  join meters_meter m on m.id = i.meter_id
  join accounts_tenancy t on t.room_id = i.room_id and t.starts_at <= %(now)s
   and (t.ends_at is null or t.ends_at > %(now)s)
  join billing_purse p on p.tenancy_id = t.id
 where i.meter_id = any(%(meters)s) and i.ends_at is null
   and (m.relay <> 'closed' or exists (select from billing_blackout b where b.purse_id = p.id and b.ended_at is null))
 order by p.id
"""
AT_ONCE: Final = 20  # meters; of more the sweeps tell, so that no gateway is held up
A_SWEEP: Final = 100  # homes, some 15 ms each: other rounds wait for it when many are cut at the same hour


@dataclass(frozen=True, slots=True)
class _Power:
    """What the meters of a home report: `cause` is blank where nothing is off that is to be told."""

    cause: str
    is_on: bool
    at: datetime


def sweep(*, now: datetime, limit: int = A_SWEEP) -> int:
    """Tells what nobody has told yet of power that we switched off, or that is back. Returns how many homes."""
    return _each(_MOVED, {"now": now, "limit": limit}, now)


def sweep_own(*, now: datetime, limit: int = A_SWEEP) -> int:
    """Tells of meters that went off by themselves, as `follow` does at once. Returns how many homes were told."""
    return _each(_BY_ITSELF, {"now": now, "limit": limit}, now)


def follow(*, meter_ids: Iterable[int], now: datetime) -> int:
    """As the sweeps do, for the homes of these few meters at once: their relays have just moved."""
    meters = sorted(set(meter_ids))
    return _each(_OF_METERS, {"now": now, "meters": meters}, now) if 0 < len(meters) <= AT_ONCE else 0


def _each(query: str, about: dict[str, Any], now: datetime) -> int:
    with connection.cursor() as cursor:
        cursor.execute(query, about)
        purses = [purse_id for (purse_id,) in cursor.fetchall()]
    return sum(_tell(purse_id, now) for purse_id in purses)


def _tell(purse_id: int, now: datetime) -> bool:
    """Begins, ends or renames the blackout of a home, and leaves the message of it. Whether there was one to leave."""
    with transaction.atomic():
        purse = supply.locked(purse_id)
        tenancy = Tenancy.objects.filter(purse=purse).first()
        standing = Blackout.objects.filter(purse=purse, ended_at=None).first()
        if tenancy is None or not tenancy.is_open(now):
            if standing is not None:
                _end(standing, now, now)
            return standing is not None
        power = _power(tenancy, now)
        if power.cause and (standing is None or standing.cause != power.cause):
            _begin(purse, tenancy, standing, power, now)
            return True
        if standing is not None and power.is_on:
            if not _end(standing, power.at, now):
                _leave(purse, key=f"{BACK}:{standing.pk}", kind=BACK, context={"at": power.at.isoformat()}, now=now)
            return True
    return False


def _power(tenancy: Tenancy, now: datetime) -> _Power:
    hanging = Installation.objects.filter(room=tenancy.room_id, ends_at=None).select_related("meter__model")
    meters = [one.meter for one in hanging.order_by("meter_id")]
    wishes = {level.meter_id: level for level in Level.objects.filter(meter__in=meters, kind=Level.Kind.RELAY)}
    off = [(meter, wishes.get(meter.pk)) for meter in meters if meter.relay in DARK]
    causes = [(cause, _since(meter, wish, now)) for meter, wish in off if (cause := _cause(meter, wish))]
    if causes:
        return _Power(causes[0][0], is_on=False, at=causes[0][1])
    is_on = bool(meters) and all(meter.relay == Relay.CLOSED for meter in meters)
    at = max((_since(meter, wishes.get(meter.pk), now) for meter in meters), default=now)
    return _Power("", is_on=is_on, at=at)


def _cause(meter: Meter, wish: Level | None) -> str:
    """Blank for one that is to close and has not yet: it comes back in a moment, or staff hear of it."""
    if wish is not None and wish.wanted == Relay.OPEN:
        return wish.reason[:16] or Relay.OPEN
    return BY_ITSELF if meter.holds_money() else ""


def _since(meter: Meter, wish: Level | None, now: datetime) -> datetime:
    agreed_at = wish.agreed_at if wish is not None and wish.wanted == meter.relay else None
    return min(agreed_at or meter.reported_at or now, now)


def _begin(purse: Purse, tenancy: Tenancy, standing: Blackout | None, power: _Power, now: datetime) -> None:
    """Another cause (staff hold what money had cut) is told as well, since the way back is another."""
    if standing is None:
        standing = Blackout.objects.create(purse=purse, cause=power.cause, began_at=power.at)
    else:
        outbox.withdraw(key=_key(standing), now=now)
        standing.cause = power.cause
        standing.save(update_fields=["cause"])
    said = languages.in_each(lambda: explanation.explain(tenancy=tenancy, now=now))
    context = {
        "cause": power.cause,
        "at": power.at.isoformat(),
        "why": {code: one.why.rstrip(".。") for code, one in said.items()},  # texts go on after it
        "how": {code: one.remedy for code, one in said.items()},
    }
    _leave(purse, key=_key(standing), kind=OFF, context=context, now=now)


def _end(standing: Blackout, at: datetime, now: datetime) -> bool:
    """Whether nobody had been told of it, and nobody will be."""
    standing.ended_at = max(at, standing.began_at)
    standing.save(update_fields=["ended_at"])
    return outbox.withdraw(key=_key(standing), now=now)


def _key(blackout: Blackout) -> str:
    return f"{OFF}:{blackout.pk}:{blackout.cause}"


def _leave(purse: Purse, *, key: str, kind: str, context: dict[str, Any], now: datetime) -> None:
    outbox.leave(
        key=key, kind=kind, tenancy_id=purse.tenancy_id, property_id=purse.property_id, context=context, now=now
    )
