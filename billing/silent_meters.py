"""Meters that were not heard for longer than a property allows: one work item a property, and a message a day.

A meter that is silent is no fault yet; many that are, or one that stays so, are somebody's work.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from django.db import connection, transaction
from django.utils.translation import gettext

from billing.models import SupplyPolicy
from billing.tariff.civil import civil_date
from notifications import outbox, staffnews, worklist
from notifications.models import WorkItem

KIND: Final = "meters_silent"  # of a work item, and of a message

# Plan: one pass over the meters that hang, now and then.
_SILENT = """
select m.property_id, coalesce(y.silent_hours, %(hours)s), count(*),
       (array_agg(m.serial order by coalesce(m.last_seen_at, i.starts_at), m.serial))[:%(shown)s],
       min(coalesce(m.last_seen_at, i.starts_at))
  from meters_meter m
  join meters_installation i on i.meter_id = m.id and i.ends_at is null
  left join billing_supplypolicy y on y.property_id = m.property_id
 where coalesce(m.last_seen_at, i.starts_at) < %(now)s - make_interval(hours => coalesce(y.silent_hours, %(hours)s))
 group by m.property_id, y.silent_hours
 order by m.property_id
"""


def look(*, now: datetime) -> int:
    """The round: lists and tells where meters are silent, and settles what is heard again. How many properties."""
    about: dict[str, Any] = {"now": now, "hours": SupplyPolicy().silent_hours, "shown": staffnews.SHOWN + 1}
    with connection.cursor() as cursor:
        cursor.execute(_SILENT, about)
        silent = {place: (hours, count, serials, since) for place, hours, count, serials, since in cursor.fetchall()}
    listed = {item.key: item for item in WorkItem.objects.filter(kind=KIND, state=WorkItem.State.OPEN)}
    for place, (hours, count, serials, since) in silent.items():
        told = {"meters": staffnews.shown(serials), "hours": hours, "since": since.isoformat()}
        _tell(place, {"silent": count} | told, listed.get(_key(place)), now)
    for item in listed.values():
        if item.property_id is not None and item.property_id not in silent:
            _settle(item.property_id, now)
    return len(silent)


def _key(property_id: int) -> str:
    return f"{KIND}:{property_id}"


def _tell(property_id: int, detail: dict[str, Any], listed: WorkItem | None, now: datetime) -> None:
    with transaction.atomic():
        if listed is None or listed.detail != detail:
            worklist.raise_item(
                key=_key(property_id), kind=KIND, property_id=property_id, detail=detail, trace="", now=now
            )
        outbox.leave(
            key=_message(property_id, now),
            kind=KIND,
            tenancy_id=None,
            property_id=property_id,
            context={"count": detail["silent"], "meters": detail["meters"], "hours": detail["hours"]},
            now=now,
        )


def _settle(property_id: int, now: datetime) -> None:
    with transaction.atomic():
        worklist.resolve(key=_key(property_id), by=None, resolution=gettext("All are heard again."), now=now)
        outbox.withdraw(key=_message(property_id, now), now=now)


def _message(property_id: int, now: datetime) -> str:
    return f"{KIND}:{property_id}:{civil_date(now)}"
