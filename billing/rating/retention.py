"""Raw readings stay as long as something may still be computed from them; what was computed stays for ever."""

from __future__ import annotations

from datetime import datetime

from django.db.models import F, Q

from billing.models import Backlog, Dispute, Doubt, Draw
from billing.tariff.civil import civil_date
from meters.models import StrayReading


def may_drop(_start: datetime, end: datetime) -> bool:
    """Whether nothing depends on the readings before `end` any more: every day before it is closed, and no reading of
    that time is in doubt, in dispute, kept apart or waiting to be rated."""
    open_days = Draw.objects.filter(starts_at__lt=end, closed_until__lt=civil_date(end))
    still_open = open_days.filter(Q(ends_at=None) | Q(ends_at__gt=F("last_at")) | Q(is_current=True))
    waiting = (
        still_open,
        Backlog.objects.filter(from_at__lt=end),
        Doubt.objects.filter(state=Doubt.State.OPEN, read_at__lt=end),
        Dispute.objects.filter(state=Dispute.State.OPEN, read_at__lt=end),
        StrayReading.objects.filter(state=StrayReading.State.OPEN, received_at__lt=end),
    )
    return not any(rows.exists() for rows in waiting)
