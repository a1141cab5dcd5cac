"""Levels: what we want of a meter against what it has.

A wish is a row, a newer one replaces it. While both disagree the reconciler issues commands, each with a higher
generation, more and more slowly but without end; a meter that sleeps is not tried, its queued command waits for it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import F, Q, QuerySet

from meters.models import Level, TopUp

_DISAGREEING = """
select l.id
  from meters_level l
  join meters_meter m on m.id = l.meter_id
 where l.wanted <> l.reported and l.next_try_at <= %(now)s and m.is_online
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
    """Issues commands for levels that disagree, are due, have none on its way, and whose meter is there to hear it."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_DISAGREEING, {"now": now, "limit": limit})
        levels = [level for (level,) in cursor.fetchall()]
        if levels:
            cursor.execute("select meters_issue(id, %s) from unnest(%s::bigint[]) as id", [now, levels])
    return len(levels)


def overdue(*, now: datetime, after: timedelta) -> QuerySet[Level]:
    """Levels that have disagreed for longer than `after`, since the last wish or since the meter left it."""
    long_ago = now - after
    disagreeing = Level.objects.exclude(wanted=F("reported")).filter(wanted_at__lte=long_ago)
    return disagreeing.filter(Q(reported_at=None) | Q(reported_at__lte=long_ago))
