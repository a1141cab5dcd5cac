"""Meters that are heard, and whose readings count for nothing: mostly a clock that stands days behind.

A reading from before the last one that counts is passed over, as a late double would be; from a meter whose clock is
wrong all of them are, and what is used is charged only once the clock is right. One work item a property.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection
from django.utils.translation import gettext

from notifications import staffnews, worklist
from notifications.models import WorkItem

KIND: Final = "meters_unread"  # of a work item
HEARD_WITHIN: Final = timedelta(hours=6)
UNREAD_AFTER: Final = timedelta(days=2)  # some meters tell their register once a day

# Plan: one pass over the current draws, now and then. What is in doubt, late or without a price is listed by others.
_UNREAD = """
select d.property_id, count(*), (array_agg(m.serial order by d.last_at, m.serial))[:%(shown)s], min(d.last_at)
  from billing_draw d
  join meters_meter m on m.id = d.meter_id
 where d.is_current and d.why_not = '' and d.last_at < %(unread)s and m.last_seen_at > %(heard)s
   and not exists (select from billing_doubt b where b.installation_id = d.installation_id and b.state = 'open')
   and not exists (select from billing_backlog l where l.installation_id = d.installation_id)
 group by d.property_id
 order by d.property_id
"""


def look(*, now: datetime) -> int:
    """The round: lists them, and settles what is read again. How many properties."""
    about: dict[str, Any] = {"shown": staffnews.SHOWN + 1, "unread": now - UNREAD_AFTER, "heard": now - HEARD_WITHIN}
    with connection.cursor() as cursor:
        cursor.execute(_UNREAD, about)
        unread = {place: (count, serials, since) for place, count, serials, since in cursor.fetchall()}
    listed = {item.key: item for item in WorkItem.objects.filter(kind=KIND, state=WorkItem.State.OPEN)}
    for place, (count, serials, since) in unread.items():
        detail = {"unread": count, "meters": staffnews.shown(serials), "since": since.isoformat()}
        before = listed.pop(_key(place), None)
        if before is None or before.detail != detail:
            worklist.raise_item(key=_key(place), kind=KIND, property_id=place, detail=detail, trace="", now=now)
    for item in listed.values():
        worklist.resolve(key=item.key, by=None, resolution=gettext("All are read again."), now=now)
    return len(unread)


def _key(property_id: int) -> str:
    return f"{KIND}:{property_id}"
