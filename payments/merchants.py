"""Merchants with their keys, as the rest of payments uses them: found by date, by slug, ready to verify and to call.

Reading and parsing keys takes a millisecond that a callback does not have, so each process keeps what it read for some
seconds. Nothing is fetched from a provider here: an unknown serial is what a stranger would send.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.urls import reverse

from accounts import pem
from accounts.alipay import certificate_sn, root_sn
from accounts.keys import UnreadableKeyError, read_key
from accounts.models import Property
from payments import sandbox_marks
from payments.models import Attempt, Merchant, Order, ProviderKey
from payments.providers.alipay import Alipay, AlipayKeys
from payments.providers.base import Provider, Receiver
from payments.providers.wechat import WeChatKeys, WeChatPay

KEPT_S = 10.0


class NoSuchMerchant(Exception):
    """Nobody by that name takes money from this provider."""

    reason = "no_such_merchant"


class KeysUnusable(Exception):
    """This merchant's keys cannot be read or are no keys: ours to mend, and the provider calls again until then."""

    reason = "keys_unusable"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A merchant as a callback or a query needs it: who must be named as the receiver, and the keys that may sign."""

    id: int
    slug: str
    provider: str
    receiver: Receiver
    keys: Any  # WeChatKeys or AlipayKeys, by provider
    read_at: float


_kept: dict[str, Snapshot] = {}
_lock = threading.Lock()


def named(slug: str, *, provider: str) -> Snapshot:
    """The merchant of a callback address. Raises NoSuchMerchant. A retired one still hears about its refunds."""
    kept = _kept.get(slug)
    if kept is not None and kept.provider == provider and time.monotonic() - kept.read_at < KEPT_S:
        return kept
    merchant = Merchant.objects.filter(slug=slug, provider=provider).first()
    if merchant is None:
        raise NoSuchMerchant
    return snapshot(merchant)


def snapshot(merchant: Merchant) -> Snapshot:
    """Reads this merchant's keys, at most once in some seconds a process. Raises KeysUnusable."""
    kept = _kept.get(merchant.slug)
    if kept is not None and time.monotonic() - kept.read_at < KEPT_S:
        return kept
    try:
        keys = _wechat_keys(merchant) if merchant.provider == "wechat" else _alipay_keys(merchant)
    except (UnreadableKeyError, ValueError) as error:  # BadKeyError is a ValueError; no message shows a key
        raise KeysUnusable(f"merchant {merchant.slug}: {error}") from error
    if settings.PRODUCTION and (mark := sandbox_mark(merchant)):
        raise KeysUnusable(f"merchant {merchant.slug}: {mark}, which production refuses")
    fresh = Snapshot(merchant.pk, merchant.slug, merchant.provider, _receiver(merchant), keys, time.monotonic())
    with _lock:
        _kept[merchant.slug] = fresh
    return fresh


def sandbox_mark(merchant: Merchant) -> str:
    """What of this merchant is a sandbox's, in words; empty where nothing is."""
    if merchant.is_sandbox:
        return "it is marked as a sandbox's"
    keys = list(merchant.provider_keys.all())
    return sandbox_marks.first_of(
        ids=filter(None, [merchant.account, merchant.sub_account, merchant.app_id, merchant.sub_app_id]),
        secrets=[read_key(merchant.api_key_ref)] if merchant.api_key_ref else [],
        pems=[key.pem for key in keys if key.kind == ProviderKey.Kind.CERTIFICATE],
    )


def forget() -> None:
    """Drops what was kept: keys were changed in this process and shall be good at once."""
    with _lock:
        _kept.clear()


def _receiver(merchant: Merchant) -> Receiver:
    return Receiver(
        account=merchant.account,
        sub_account=merchant.sub_account,
        app_id=merchant.app_id,
        sub_app_id=merchant.sub_app_id,
    )


def _wechat_keys(merchant: Merchant) -> WeChatKeys:
    return WeChatKeys(
        account=merchant.account,
        app_id=merchant.app_id,
        sub_account=merchant.sub_account,
        sub_app_id=merchant.sub_app_id,
        private_key=pem.private_key(read_key(merchant.private_key_ref)),
        certificate_serial=merchant.certificate_serial,
        apiv3_key=read_key(merchant.api_key_ref).encode(),
        provider_keys={key.serial: pem.public_key(key.pem) for key in merchant.provider_keys.all()},
    )


def _alipay_keys(merchant: Merchant) -> AlipayKeys:
    """In certificate mode the serial of Alipay's own certificate is its `alipay_cert_sn`."""
    in_certificates = merchant.key_mode == Merchant.KeyMode.CERTIFICATE
    wanted = ProviderKey.Kind.CERTIFICATE if in_certificates else ProviderKey.Kind.PUBLIC_KEY
    return AlipayKeys(
        app_id=merchant.app_id,
        private_key=pem.private_key(read_key(merchant.private_key_ref)),
        provider_keys={key.serial: pem.public_key(key.pem) for key in merchant.provider_keys.filter(kind=wanted)},
        app_cert_sn=certificate_sn(read_key(merchant.certificate_ref)) if in_certificates else "",
        root_cert_sn=root_sn(read_key(merchant.root_certificate_ref)) if in_certificates else "",
    )


def taking_money_for(place: Property, *, provider: str, app_id: str | None, now: datetime) -> Merchant | None:
    """Who takes money from this provider for this property now; with `app_id`, for payers of that app alone."""
    found = Merchant.objects.filter(
        Q(assignments__ends_at=None) | Q(assignments__ends_at__gt=now),
        assignments__property=place,
        assignments__starts_at__lte=now,
        provider=provider,
        retired_at=None,
    )
    if app_id is not None:
        found = found.filter(Q(app_id=app_id, sub_app_id="") | Q(sub_app_id=app_id) | Q(mini_app_id=app_id))
    return found.order_by("-assignments__starts_at", "-pk").first()


def client_of(merchant: Merchant) -> Provider:
    """The outgoing client with this merchant's keys. Cheap: keys are kept, connections are the thread's."""
    keys = snapshot(merchant).keys
    if merchant.provider == "wechat":
        return WeChatPay(keys, base_url=settings.WECHAT_PAY_URL, timeout_s=settings.VENDOR_TIMEOUT_S)
    return Alipay(
        keys,
        gateway_url=settings.ALIPAY_GATEWAY_URL,
        timeout_s=settings.VENDOR_TIMEOUT_S,
        mini_app_id=merchant.mini_app_id,
    )


def pay_parameters(attempt: Attempt, *, description: str) -> dict[str, Any]:
    """What the client hands to its provider to pay this attempt, signed now where the provider wants it signed."""
    client = client_of(attempt.merchant)
    if isinstance(client, WeChatPay):
        return dict(client.pay_parameters(attempt.handle))
    if attempt.channel == Attempt.Channel.ALIPAY_MINI:
        return {"tradeNO": attempt.handle}
    assert isinstance(client, Alipay)  # noqa: S101 (there are two; tells the type)
    return {
        "url": client.wap_pay_url(
            number=attempt.number,
            amount_fen=attempt.amount_fen,
            description=description,
            expires_at=attempt.expires_at,
            notify_url=notify_url(attempt.merchant),
            return_url=page_of(attempt.order),
            quit_url=page_of(attempt.order),
        )
    }


def page_of(order: Order) -> str:
    """The recharge's own page, to which providers lead the payer back."""
    return settings.PUBLIC_URL + str(settings.RECHARGE_PATH).format(number=order.number)


def notify_url(merchant: Merchant) -> str:
    """Where this merchant's provider calls back: no query string, the merchant in the path."""
    return settings.PUBLIC_URL + reverse(f"notify-{merchant.provider}", args=[merchant.slug])
