"""Levels: what we want of a meter against what it has.

A wish is a row, a newer one replaces it. While both disagree the reconciler issues commands, each with a higher
generation, more and more slowly but without end; a meter that sleeps is not tried, its queued command waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import F, Q, QuerySet

from meters import commands, parameters
from meters.models import Level, TopUp

_DISAGREEING = """
select l.id
  from meters_level l
  join meters_meter m on m.id = l.meter_id
 where l.wanted <> l.reported and l.next_try_at <= %(now)s and m.is_online and l.kind <> all(%(parameters)s)
   and not exists (
        select from (select c.state, c.expires_at, c.value from meters_command c
                      where c.meter_id = l.meter_id and c.kind = l.kind and c.state <> 'superseded'
                      order by c.queued_at desc, c.generation desc limit 1) newest
         where newest.value = l.wanted
           and (newest.state = 'queued' or newest.state = 'sent' and newest.expires_at > %(now)s))
 order by l.id
 limit %(limit)s
   for update of l skip locked
"""


def want(*, meter_id: int, kind: str, wanted: str, reason: str, trace: str, now: datetime) -> bool:
    """Sets what we want of a meter's level from now on. True when a command had to be made for it.

    Part of the caller's transaction (SQL: meters_want). `wanted` is a Relay value, or fen as text for "show".
    """
    with connection.cursor() as cursor:
        cursor.execute("select meters_want(%s, %s, %s, %s, %s, %s)", [meter_id, kind, wanted, reason, trace, now])
        row = cursor.fetchone()
    return bool(row and row[0])


def hold_levels(*, top_ups_of: int) -> None:
    """Locks the levels of the meters into which a tenancy's top-ups are on their way: levels come before top-ups."""
    meters = TopUp.objects.filter(tenancy_id=top_ups_of).values("meter")
    list(Level.objects.select_for_update(no_key=True).filter(meter__in=meters).order_by("pk").values_list("pk"))


def reconcile(*, now: datetime, limit: int = 500) -> int:
    """Issues commands for levels that disagree, are due, have none on its way, and whose meter is there to hear it.

    All but parameters, which come after them (`reconcile_parameters`).
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_DISAGREEING, {"now": now, "limit": limit, "parameters": parameters.KINDS})
        levels = [level for (level,) in cursor.fetchall()]
        if levels:
            cursor.execute("select meters_issue(id, %s) from unnest(%s::bigint[]) as id", [now, levels])
    return len(levels)


def overdue(*, now: datetime, after: timedelta) -> QuerySet[Level]:
    """Levels that have disagreed for longer than `after`, since the last wish or since the meter left it.

    All but parameters (`untaken`).
    """
    long_ago = now - after
    disagreeing = Level.objects.exclude(wanted=F("reported")).exclude(kind__in=parameters.KINDS)
    disagreeing = disagreeing.filter(wanted_at__lte=long_ago)
    return disagreeing.filter(Q(reported_at=None) | Q(reported_at__lte=long_ago))


# ---- parameters ----

# Refused for good: the meter does not do that, or could not, however often it was asked.
_REFUSED = """newest.state = 'refused' and newest.value = l.wanted and (
               newest.error = 'unsupported' or newest.error not in ('stale', 'expired') and l.tries >= 5)"""
_NEWEST = """(select c.state, c.expires_at, c.value, c.error from meters_command c
                where c.meter_id = l.meter_id and c.kind = l.kind and c.state <> 'superseded'
                order by c.queued_at desc, c.generation desc limit 1)"""
# Rows before their locks: all wishes come in the same order, so that nobody waits for somebody who waits for them.
_BEGIN = """
insert into meters_level
    (meter_id, kind, wanted, reason, wanted_at, trace, generation, reported, tries, next_try_at)
select w.meter_id, w.kind, w.wanted, %(reason)s, %(now)s, '', 0, '', 0, %(now)s
  from unnest(%(meters)s::bigint[], %(kinds)s::text[], %(values)s::text[]) as w (meter_id, kind, wanted)
 order by w.meter_id, w.kind
on conflict (meter_id, kind) do nothing
"""
# All of these meters': who looks again at what is laid down, and wishes once more, then holds what that may change.
_HOLD = """
select id from meters_level
 where meter_id = any(%(meters)s::bigint[]) and kind = any(%(parameters)s)
 order by id
   for no key update
"""
# What the meter said before something else may have reached it is not known any more.
_WISH = """
with held as (
    select l.id, l.meter_id, l.kind, l.reported, l.reported_at, w.wanted
      from meters_level l
      join unnest(%(meters)s::bigint[], %(kinds)s::text[], %(values)s::text[]) as w (meter_id, kind, wanted)
        on w.meter_id = l.meter_id and w.kind = l.kind
     where l.wanted <> w.wanted
     order by l.id
       for no key update of l
), doubted as (
    select h.id, h.wanted, case when exists (
               select from meters_command c
                where c.meter_id = h.meter_id and c.kind = h.kind and c.state in ('sent', 'expired')
                  and c.value <> h.wanted and coalesce(c.expires_at >= h.reported_at, true)) then '' else h.reported
           end as reported
      from held h
)
update meters_level l
   set wanted = d.wanted, reported = d.reported, reason = %(reason)s, trace = '', wanted_at = %(now)s, tries = 0,
       agreed_at = case when d.reported = d.wanted then %(now)s end, next_try_at = %(now)s
  from doubted d
 where l.id = d.id
"""
_TAKE_BACK = """
update meters_command c
   set state = 'superseded'
  from unnest(%(meters)s::bigint[], %(kinds)s::text[], %(values)s::text[]) as w (meter_id, kind, wanted)
 where c.meter_id = w.meter_id and c.kind = w.kind and c.state = 'queued' and c.value <> w.wanted
"""
# Those that have waited longest, so that a round takes as long however many wait. Plan: levels_in_disagreement.
_WAITING = """
with waiting as (
    select id, meter_id, kind, next_try_at
      from meters_level
     where wanted <> reported and next_try_at <= %(now)s and kind = any(%(parameters)s)
     order by next_try_at
     limit 2000
)"""
# What cannot go now is put off, so that it is looked at once a day, or when its meter is back (reports.py), and not in
# each round. Plan: meters by key, the newest command of what was tried by commands_of_a_meter.
_PUT_OFF = (
    """
WAITING, due as (
    select l.id
      from waiting w
      join meters_level l on l.id = w.id
      join meters_meter m on m.id = w.meter_id
      join meters_metermodel k on k.id = m.model_id
     where l.wanted <> l.reported and l.next_try_at <= %(now)s
       and (not m.is_online or k.balance_held_by <> 'meter' or l.kind <> all(k.parameters)
            or l.tries > 0 and exists (select from NEWEST newest where REFUSED))
     order by l.id
       for update of l skip locked
)
update meters_level l set next_try_at = %(later)s from due where l.id = due.id
""".replace("WAITING", _WAITING)
    .replace("NEWEST", _NEWEST)
    .replace("REFUSED", _REFUSED)
)
# The first of each meter to which nothing is on its way. Plan: as above; what is queued by (meter, kind), what is out
# by commands_unanswered.
_DUE = """
WAITING, first as (
    select id, next_try_at, row_number() over (partition by meter_id order by id) as place from waiting
)
select l.id
  from first f
  join meters_level l on l.id = f.id
  join meters_meter m on m.id = l.meter_id
 where f.place = 1 and l.wanted <> l.reported and l.next_try_at <= %(now)s and m.is_online
   and not exists (select from meters_command c where c.meter_id = l.meter_id and c.state = 'queued')
   and not exists (select from meters_command c
                    where c.meter_id = l.meter_id and c.state = 'sent' and c.expires_at > %(now)s)
 order by f.next_try_at, f.id
 limit %(limit)s
   for update of l skip locked
""".replace("WAITING", _WAITING)
# The others of these meters wait for its answer (reports.py), and stand before nobody meanwhile.
_NEXT = """
with others as (
    select l.id
      from meters_level l
     where l.meter_id in (select meter_id from meters_level where id = any(%(levels)s))
       and l.kind = any(%(parameters)s) and l.wanted <> l.reported and l.next_try_at <= %(now)s
     order by l.id
       for update of l skip locked
)
update meters_level l set next_try_at = %(soon)s from others where l.id = others.id
"""
_UNTAKEN = """
select l.meter_id, m.property_id, m.serial, m.is_online, l.kind, coalesce(newest.error, '')
  from meters_level l
  join meters_meter m on m.id = l.meter_id
  join meters_metermodel k on k.id = m.model_id
  left join lateral NEWEST newest on REFUSED
 where l.wanted <> l.reported and l.kind = any(%(parameters)s) and l.kind = any(k.parameters)
   and (newest.error is not null or l.wanted_at <= %(long_ago)s and coalesce(l.reported_at <= %(long_ago)s, true))
 order by l.meter_id, l.kind
""".replace("NEWEST", _NEWEST).replace("REFUSED", _REFUSED)
LATER: Final = timedelta(days=1)
SOON: Final = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Untaken:
    """A parameter that a meter does not go by; `error` is what it was refused for, "" when it was not answered."""

    meter_id: int
    property_id: int
    serial: str
    is_online: bool
    kind: str
    error: str


def want_parameters(wishes: Sequence[tuple[int, str, str]], *, reason: str, now: datetime) -> None:
    """Sets what meters are to go by: (meter, kind, value as text), each meter and kind once. Part of the caller's
    transaction. The commands are made by the gateway, when nothing else is on its way.
    """
    meters, kinds, values = (list(column) for column in zip(*sorted(wishes), strict=True))
    told: dict[str, Any] = {"meters": meters, "kinds": kinds, "values": values, "reason": reason, "now": now}
    told["parameters"] = parameters.KINDS
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in (_BEGIN, _HOLD, _WISH, _TAKE_BACK):
            cursor.execute(statement, told)
        commands.wake()


def reconcile_parameters(*, now: datetime, limit: int) -> int:
    """Issues commands for parameters that disagree and are due, one a meter to which nothing is on its way.

    What was refused for good, or is for a meter that is away or does not know it, is put off. Returns how many were
    issued or put off.
    """
    told: dict[str, Any] = {"now": now, "parameters": parameters.KINDS, "later": now + LATER, "soon": now + SOON}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_PUT_OFF, told)
        put_off = int(cursor.rowcount)
        cursor.execute(_DUE, told | {"limit": limit})
        due = [level for (level,) in cursor.fetchall()]
        if due:
            cursor.execute("select meters_issue(id, %s) from unnest(%s::bigint[]) as id", [now, due])
            cursor.execute(_NEXT, told | {"levels": due})
    return put_off + len(due)


def due_parameters(*, now: datetime, at_most: int) -> int:
    """How many parameters wait for the gateway's next rounds, counted up to `at_most`."""
    due = Level.objects.exclude(wanted=F("reported")).filter(kind__in=parameters.KINDS, next_try_at__lte=now)
    return due[:at_most].count()


def untaken(*, now: datetime, after: timedelta) -> list[Untaken]:
    """Parameters that were refused for good, or not taken for longer than `after`."""
    with connection.cursor() as cursor:
        cursor.execute(_UNTAKEN, {"parameters": parameters.KINDS, "long_ago": now - after})
        return [Untaken(*row) for row in cursor.fetchall()]
