"""The doctor's look at who can pay where: a property that takes WeChat Pay wants it in each of our apps there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from django.conf import settings
from django.db import DatabaseError
from django.db.models import Q

from accounts.models import Property
from config.ailment import Ailment
from payments import merchants

# An open id, and so a payment within WeChat, belongs to one app: a merchant's row names the app that it takes money in.
APPS: Final = {
    "WECHAT_MINI_APP_ID": "the mini-program",
    "WECHAT_OFFICIAL_APP_ID": "WeChat's own browser",
}


def ways_to_pay(now: datetime) -> Iterator[Ailment]:
    """Properties whose tenants are refused in one of the apps that are set up."""
    try:
        yield from _refusing(now)
    except DatabaseError:
        return  # `database` has said so


def _refusing(now: datetime) -> Iterator[Ailment]:
    standing = Q(merchant_assignments__ends_at=None) | Q(merchant_assignments__ends_at__gt=now)
    theirs = {"merchant_assignments__starts_at__lte": now, "merchant_assignments__merchant__retired_at": None}
    wechat = Property.objects.filter(standing, merchant_assignments__merchant__provider="wechat", **theirs)
    for place in wechat.order_by("code").distinct():
        for name, where in APPS.items():
            app_id = getattr(settings, name)
            if app_id and not merchants.taking_money_for(place, provider="wechat", app_id=app_id, now=now):
                yield Ailment(
                    f"Property {place.code}",
                    f"takes no WeChat Pay in {where}",
                    f"add a merchant with the app id of {name} ({app_id}) and assign it: the number may be the same",
                    is_warning=True,
                )
