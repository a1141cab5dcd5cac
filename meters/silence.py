"""Meters that do not do what was asked: shown to staff after a limit, and tried again all the same.

One work item a meter and matter (relay, shown balance, top-up); it is resolved by itself when the meter has answered.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import F
from django.utils.translation import gettext

from meters import desired, topups
from meters.models import Level, TopUp
from notifications import worklist
from notifications.models import WorkItem

KIND = "meter_does_not_answer"
AFTER = timedelta(minutes=10)
AT_MOST = 500  # items a round: after a broken network the list must not take the database with it


def look(*, now: datetime, after: timedelta = AFTER) -> int:
    """Puts what has waited for longer than `after` on the work list, and takes off what has come right.

    Returns how many items were raised anew.
    """
    open_keys = set(WorkItem.objects.filter(kind=KIND, state=WorkItem.State.OPEN).values_list("key", flat=True))
    waiting = _waiting(now=now, after=after)
    for key in sorted(open_keys - waiting.keys()):
        if _is_over(key):
            worklist.resolve(key=key, by=None, resolution=gettext("The meter has answered."), now=now)
    fresh = sorted(waiting.keys() - open_keys)[:AT_MOST]
    for key in fresh:
        matter = waiting[key]
        worklist.raise_item(
            key=key,
            kind=KIND,
            property_id=matter.meter.property_id,
            detail=_told(matter),
            trace=matter.trace,
            now=now,
        )
    return len(fresh)


def _waiting(*, now: datetime, after: timedelta) -> dict[str, Level | TopUp]:
    levels = desired.overdue(now=now, after=after).select_related("meter")
    queues = topups.overdue(now=now, after=after).select_related("meter").order_by("-pk")  # the first of a meter wins
    waiting: dict[str, Level | TopUp] = {f"silent:{level.meter_id}:{level.kind}": level for level in levels}
    return waiting | {f"silent:{top_up.meter_id}:top_up": top_up for top_up in queues}


def _is_over(key: str) -> bool:
    """A newer wish restarts the clock but is no answer: the item stays until nothing waits any more."""
    _, meter, matter = key.split(":")
    if matter == "top_up":
        return not TopUp.objects.filter(meter_id=meter, state__in=topups.ON_THEIR_WAY).exists()
    return not Level.objects.filter(meter_id=meter, kind=matter).exclude(wanted=F("reported")).exists()


def _told(matter: Level | TopUp) -> dict[str, object]:
    told: dict[str, object] = {"meter": matter.meter.serial, "online": matter.meter.is_online, "tries": matter.tries}
    if isinstance(matter, Level):
        return told | {"wanted": matter.wanted, "reported": matter.reported, "since": matter.wanted_at.isoformat()}
    return told | {"amount_fen": matter.amount_fen, "state": matter.state, "since": matter.queued_at.isoformat()}
