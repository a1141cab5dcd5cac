"""The home behind the QR code on a meter, for whoever scans it: which door it is, and nothing about who lives there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from accounts.models import Room, Tenancy
from meters.models import Installation, Meter


@dataclass(frozen=True, slots=True)
class Scanned:
    """`tenancy` is None while nobody lives there: then there is nobody to pay for."""

    meter: Meter
    room: Room
    tenancy: Tenancy | None


def by_code(code: str, *, now: datetime) -> Scanned | None:
    """What hangs where, by the code on a label; None for a code that no hanging meter has."""
    hanging = Installation.objects.filter(meter__code=code, ends_at=None)
    found = hanging.select_related("meter__model", "room__building__property").first()
    if found is None:
        return None
    living = Tenancy.objects.filter(Q(ends_at=None) | Q(ends_at__gt=now), room=found.room_id, starts_at__lte=now)
    tenancy = living.select_related("room__building__property", "property").first()
    return Scanned(found.meter, found.room, tenancy)
