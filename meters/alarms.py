"""What a meter said that concerns the people behind it: told to the home that it hangs in, once a day and kind.

Part of intake's transaction. What is older than a day is history: it stays an event, and nobody is woken for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Q
from django.utils import timezone

from accounts.models import Tenancy
from meters import words
from meters.models import Installation, MeterEvent
from notifications import languages, outbox

KIND: Final = "meter_alarm"  # of a message
ALARMS: Final = frozenset({"cover_opened", "overload"})  # of wire/base.py: Happening
AT_MOST_OLD: Final = timedelta(days=1)


def tell(events: Iterable[MeterEvent], *, now: datetime) -> None:
    """Leaves a message for each event that is an alarm; the same again on a day changes nothing."""
    alarms = [one for one in events if one.kind in ALARMS and abs(now - one.happened_at) < AT_MOST_OLD]
    homes = _homes(alarms, now) if alarms else {}
    for one in alarms:
        if (home := homes.get(one.meter_id)) is not None:
            serial, tenancy = home
            _leave(one, serial, tenancy, now)


def _homes(alarms: Sequence[MeterEvent], now: datetime) -> dict[int, tuple[str, Tenancy]]:
    """Serial and home by meter, of those that hang where somebody lives."""
    hanging = Installation.objects.filter(meter__in={one.meter_id for one in alarms}, ends_at=None)
    places = list(hanging.values_list("meter_id", "meter__serial", "room_id"))
    living = Tenancy.objects.filter(Q(ends_at=None) | Q(ends_at__gt=now), starts_at__lte=now)
    by_room = {home.room_id: home for home in living.filter(room__in={room for _meter, _serial, room in places})}
    return {meter: (serial, by_room[room]) for meter, serial, room in places if room in by_room}


def _leave(event: MeterEvent, serial: str, tenancy: Tenancy, now: datetime) -> None:
    if event.happened_at < tenancy.starts_at:
        return
    day = timezone.localtime(event.happened_at).date()
    outbox.leave(
        key=f"{KIND}:{event.meter_id}:{event.kind}:{day}",
        kind=KIND,
        tenancy_id=tenancy.pk,
        property_id=event.property_id,
        context={
            "event": event.kind,
            "alarm": languages.in_each(lambda: words.event(event.kind)),
            "meter": serial,
            "at": event.happened_at.isoformat(),
        },
        now=now,
    )
