"""Whether messages are carried at all: a carrier that is not running tells nobody, so somebody else has to look."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from notifications import worklist
from notifications.models import Message

KIND: Final = "messages_wait"  # of a work item
LATE: Final = timedelta(minutes=5)


def look(*, now: datetime) -> bool:
    """Puts it on the operator's work list while messages wait for longer than five minutes; whether they do.

    Plan: the partial index on what waits, its oldest row.
    """
    waiting = Message.objects.filter(state=Message.State.WAITING, left_at__lt=now - LATE)
    oldest = waiting.order_by("left_at").values_list("left_at", flat=True).first()
    if oldest is None:
        worklist.resolve(key=KIND, by=None, resolution="carried", now=now)
        return False
    about = {"since": oldest.isoformat()}
    worklist.raise_item(key=KIND, kind=KIND, property_id=None, detail=about, trace="", now=now)
    return True
