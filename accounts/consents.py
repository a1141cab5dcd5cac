"""Consent to the privacy notice: asked once for each version of it, and kept (PIPL, articles 13, 14 and 17)."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from django.db import transaction

from accounts.models import Consent, User

CURRENT: Final = "2026-11"  # changes with what the notice says is done with people's data, not with its spelling


class OtherVersionError(Exception):
    """The notice that this person read is not the one that holds."""


def is_given(user: User) -> bool:
    return user.notice_version == CURRENT


@transaction.atomic
def give(*, user: User, version: str, came_through: str, now: datetime) -> Consent:
    """Keeps that this person consented; again it changes nothing. Raises OtherVersionError."""
    if version != CURRENT:
        raise OtherVersionError
    consent, _is_new = Consent.objects.get_or_create(
        user=user, version=version, defaults={"given_at": now, "came_through": came_through}
    )
    User.objects.filter(pk=user.pk).update(notice_version=version)
    user.notice_version = version
    return consent
