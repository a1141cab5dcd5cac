"""Extreme weather, switched on and off by staff: while it stands nobody of the property is cut."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Q
from django.utils.translation import gettext as _

from accounts.models import Property, User
from billing.models import WeatherHold


class WeatherRefused(Exception):
    """It cannot be switched as asked; nothing was changed. The text is for the person who asked."""


def begin(*, place: Property, reason: str, until: datetime | None, by: User, now: datetime) -> WeatherHold:
    """From now on, until somebody ends it or `until` comes. Raises WeatherRefused without a reason, or too late."""
    reason = reason.strip()
    if not reason:
        raise WeatherRefused(_("Give a reason."))
    if until is not None and until <= now:
        raise WeatherRefused(_("The end lies in the past."))
    return WeatherHold.objects.create(
        property=place, reason=reason, from_at=now, until_at=until, placed_at=now, placed_by=by
    )


def end(*, hold_id: int, now: datetime) -> bool:
    """Ends it now; homes that it kept on are looked at again within minutes. False when it was over before."""
    standing = WeatherHold.objects.filter(Q(until_at=None) | Q(until_at__gt=now), pk=hold_id, from_at__lt=now)
    return standing.update(until_at=now) == 1
