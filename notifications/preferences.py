"""What a person wants to be told, and when not."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import User
from notifications.kinds import TOLD, Kind
from notifications.models import Preference

NOT_WISHED = ("trial", "login_code")  # nobody is told of them unless somebody presses a button


class PreferenceRefused(Exception):
    """It cannot be wished for; nothing was changed. The text is for the person who asked."""


def of(user: User) -> Preference:
    """Their own, or the usual ones."""
    return Preference.objects.filter(user=user).first() or Preference(user=user)


def offered() -> dict[str, Kind]:
    """The kinds that tenants are told of."""
    return {code: kind for code, kind in TOLD.items() if not kind.is_for_staff and code not in NOT_WISHED}


def wish(
    *, user: User, off_kinds: Collection[str], quiet_from: int, quiet_until: int, language: str, now: datetime
) -> Preference:
    """From now on. Minutes are of the day in Shanghai. Raises PreferenceRefused: a kind is compulsory, or unknown."""
    for code in off_kinds:
        _check(code)
    wanted = {
        "off_kinds": sorted(set(off_kinds)),
        "quiet_from": quiet_from,
        "quiet_until": quiet_until,
        "language": language,
        "changed_at": now,
    }
    row, _is_new = Preference.objects.update_or_create(user=user, defaults=wanted)
    return row


def switch_off(*, user: User, kind: str, now: datetime) -> None:
    """One kind less; the rest stays. Raises PreferenceRefused."""
    _check(kind)
    with transaction.atomic():
        Preference.objects.get_or_create(user=user, defaults={"changed_at": now})
        row = Preference.objects.select_for_update().get(user=user)
        if kind not in row.off_kinds:
            row.off_kinds = sorted([*row.off_kinds, kind])
            row.changed_at = now
            row.save(update_fields=["off_kinds", "changed_at"])


def _check(code: str) -> None:
    kind = offered().get(code)
    if kind is None:
        raise PreferenceRefused(_("There is no such kind of message."))
    if kind.is_compulsory:
        raise PreferenceRefused(_("%(kind)s: this cannot be switched off.") % {"kind": kind.label})
