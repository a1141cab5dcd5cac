"""The readings of a home's day, for its tenant: which of them may be wrong is theirs to say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from accounts.models import Tenancy
from billing.models import Draw
from billing.tariff.civil import instant
from meters.models import Reading

DAY: Final = timedelta(days=1)
AT_MOST: Final = 300  # each five minutes is 288


@dataclass(frozen=True, slots=True)
class Read:
    """What a meter's register showed at an instant, in Wh as it stood there."""

    meter: str
    at: datetime
    wh: int


def of_day(*, tenancy: Tenancy, on: date) -> list[Read]:
    """In the tenancy's own time, a meter after the other, oldest first; midnight at the day's end is its last instant.

    Plan: the draws of the tenancy, then a range of the primary key in one partition for each.
    """
    found: list[Read] = []
    for draw in Draw.objects.filter(tenancy=tenancy).select_related("meter").order_by("pk"):
        first, last = max(instant(on), draw.starts_at), instant(on + DAY)
        if draw.ends_at is not None:
            last = min(last, draw.ends_at)
        rows = Reading.objects.filter(meter=draw.meter_id, read_at__gt=first, read_at__lte=last)
        told = rows.order_by("read_at").values_list("read_at", "import_wh")[:AT_MOST]
        found += [Read(draw.meter.serial, at, wh) for at, wh in told]
    return found
