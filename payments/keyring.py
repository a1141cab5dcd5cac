"""WeChat's platform certificates are fetched before they are needed: they change, and callbacks never wait for them."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.core.cache import cache

from accounts import pem
from notifications import worklist
from payments import merchants
from payments.models import Merchant, ProviderKey
from payments.providers.base import ProviderError
from payments.providers.wechat import WeChatPay

log = logging.getLogger(__name__)
EVERY = timedelta(hours=6)  # the vendor asks for at least every 12 hours
NONE_THERE = "RESOURCE_NOT_EXISTS"  # a merchant that was only ever given a public key


def refresh(*, now: datetime) -> int:
    """Fetches the certificates of WeChat merchants that use them, each every few hours. Returns how many are new."""
    due = Merchant.objects.filter(provider="wechat", key_mode=Merchant.KeyMode.CERTIFICATE, retired_at=None)
    return sum(_refresh_one(merchant, now) for merchant in due if cache.add(f"keyring:{merchant.pk}", 1, EVERY.seconds))


def _refresh_one(merchant: Merchant, now: datetime) -> int:
    client = merchants.client_of(merchant)
    assert isinstance(client, WeChatPay)  # noqa: S101 (filtered above; tells the type)
    try:
        found = client.certificates()
    except ProviderError as error:
        if error.code != NONE_THERE:
            cache.delete(f"keyring:{merchant.pk}")  # the next round tries again
            log.warning("certificates of %s: %s", merchant.slug, error)
            _tell(merchant, str(error), now)
        return 0
    return sum(_keep(merchant, serial, text, now) for serial, text in found.items())


def _keep(merchant: Merchant, serial: str, text: str, now: datetime) -> bool:
    certificate = pem.certificates(text)[0]
    _key, is_new = ProviderKey.objects.update_or_create(
        merchant=merchant,
        serial=serial,
        defaults={
            "kind": ProviderKey.Kind.CERTIFICATE,
            "pem": text,
            "starts_at": certificate.not_valid_before_utc,
            "ends_at": certificate.not_valid_after_utc,
            "fetched_at": now,
        },
    )
    return is_new


def _tell(merchant: Merchant, error: str, now: datetime) -> None:
    worklist.raise_item(
        key=f"certificates:{merchant.pk}",
        kind="certificates_not_fetched",
        property_id=None,
        detail={"merchant": merchant.slug, "error": error[:64]},
        trace="",
        now=now,
    )
