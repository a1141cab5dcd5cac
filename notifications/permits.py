"""Permits for messages of the mini-program, as their people take them back."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from accounts.models import Identity
from notifications.models import Permit


def end(*, app_id: str, openid: str, template_ids: Iterable[str], given_before: datetime, now: datetime) -> int:
    """A person wants no messages of these templates: what they allowed until then is over. Returns how many permits.

    One that was given later stands: WeChat's event may come late.
    """
    left = Permit.objects.filter(
        identity__provider=Identity.Provider.WECHAT,
        identity__app_id=app_id,
        identity__subject=openid,
        template_id__in=list(template_ids),
        given_at__lte=given_before,
        ended_at=None,
    )
    return left.update(ended_at=now)
