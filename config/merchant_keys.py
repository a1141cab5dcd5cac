"""The doctor's look at each merchant's keys: there, good, of the right kind, belonging together, not run out.

What can be seen without asking the provider. A key that is well-formed and somebody else's shows with the first call.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from cryptography.x509 import Certificate
from django.db import DatabaseError
from django.db.models import Exists, OuterRef, Q

from accounts import pem
from accounts.keys import UnreadableKeyError, read_key
from config.ailment import Ailment
from payments import merchants
from payments.models import Merchant, Payment, ProviderKey

SOON = timedelta(days=30)
REFUNDS_COME_FOR = timedelta(days=365)  # both providers refund a payment for a year
APIV3_KEY_BYTES = 32
CERTIFICATE = ProviderKey.Kind.CERTIFICATE


class Dated(NamedTuple):
    """Something with a time in which it is good; None: nobody said. A provider's next key is there before its time, and
    the last one after it; without our own certificate our calls are refused."""

    name: str
    starts_at: datetime | None
    ends_at: datetime | None
    is_own: bool = False


def merchant_keys(now: datetime) -> Iterator[Ailment]:
    """Each merchant that takes money, or did within the time in which its refunds may still come.

    What ails one that is retired is a warning: it takes no money, but nobody could check what its provider says. One
    without a payment of the last year is passed over.
    """
    try:
        found = list(_to_examine(now))
    except DatabaseError:
        return  # `database` has said so
    for merchant in found:
        for ailment in _examined(merchant, now):
            if merchant.retired_at is None:
                yield ailment
            else:
                where = f"{ailment.where} (retired, its refunds may still come)"
                yield replace(ailment, where=where, is_warning=True)


def _to_examine(now: datetime) -> Iterator[Merchant]:
    paid = Payment.objects.filter(merchant=OuterRef("pk"), paid_at__gt=now - REFUNDS_COME_FOR)
    yield from Merchant.objects.filter(Q(retired_at=None) | Exists(paid)).order_by("slug")


def _examined(merchant: Merchant, now: datetime) -> Iterator[Ailment]:
    where, keys = f"merchant {merchant.slug}", list(merchant.provider_keys.order_by("serial"))
    named = [*_kinds(merchant, keys, where), *_apiv3_key(merchant, where)]
    yield from named
    if any(not ailment.is_warning for ailment in named):
        return  # the keys as a whole would fail for the same, and say less
    merchants.forget()
    try:
        merchants.snapshot(merchant)
    except merchants.KeysUnusable as error:
        yield Ailment(where, str(error), "mend the references in the admin, or retire the merchant")
        return
    dated = list(_dated(keys))
    if merchant.certificate_ref:
        try:
            own = pem.certificates(read_key(merchant.certificate_ref))[0]
        except (UnreadableKeyError, ValueError) as error:
            yield Ailment(where, f"its own certificate: {error}", "name the file of the certificate in the admin")
        else:
            yield from _own_certificate(merchant, own, where)
            dated.append(Dated("its own certificate", own.not_valid_before_utc, own.not_valid_after_utc, is_own=True))
    elif merchant.provider == "wechat" and not merchant.certificate_serial:
        yield Ailment(where, "has no serial of its own certificate", "enter it: WeChat Pay knows our signature by it")
    for one in dated:
        yield from _dates(one, where, now)


def _kinds(merchant: Merchant, keys: list[ProviderKey], where: str) -> Iterator[Ailment]:
    """The provider's keys are what they are said to be, and one is of the kind that the merchant is set to."""
    for key in keys:
        if ("BEGIN CERTIFICATE" in key.pem) != (key.kind == CERTIFICATE):
            what = f"key {key.serial} is entered as a {_said(key.kind)} and is none"
            yield Ailment(where, what, "enter it as what it is")
    if not keys and not _is_fetched(merchant):
        yield Ailment(where, "has no key of its provider", "enter the provider's public key in the admin")
    elif merchant.key_mode not in {key.kind for key in keys}:
        is_fetched = _is_fetched(merchant)
        cure = "let the chaser run: it fetches them" if is_fetched else "enter one, or set the mode to what is there"
        what = f"is set to {_said(merchant.key_mode)}, and has no such key of its provider"
        # WeChat signs with what it was switched to, and both kinds are accepted; Alipay's are chosen by the mode.
        yield Ailment(where, what, cure, is_warning=merchant.provider == "wechat" and bool(keys or is_fetched))


def _is_fetched(merchant: Merchant) -> bool:
    return merchant.provider == "wechat" and merchant.key_mode == Merchant.KeyMode.CERTIFICATE


def _said(kind: str) -> str:
    return kind.replace("_", " ")


def _apiv3_key(merchant: Merchant, where: str) -> Iterator[Ailment]:
    """AES-256 takes 32 bytes; another length makes every callback unreadable (docs of WeChat Pay: 4012071382)."""
    if merchant.provider != "wechat":
        return
    try:
        length = len(read_key(merchant.api_key_ref).encode())
    except UnreadableKeyError:
        return  # said with all that cannot be read
    if length != APIV3_KEY_BYTES:
        what = f"its APIv3 key has {length} bytes and not {APIV3_KEY_BYTES}"
        yield Ailment(where, what, "name the key that was set at WeChat Pay: without it no callback can be read")


def _own_certificate(merchant: Merchant, own: Certificate, where: str) -> Iterator[Ailment]:
    if own.public_key() != pem.private_key(read_key(merchant.private_key_ref)).public_key():
        yield Ailment(where, "certificate and private key do not belong together", "name the pair")
    entered, true = merchant.certificate_serial.strip().lstrip("0").upper(), f"{own.serial_number:X}"
    if merchant.provider == "wechat" and entered != true:
        what = f"the entered serial {entered or '(none)'} is not that of its certificate, {true}"
        yield Ailment(where, what, "enter that one: WeChat Pay knows our signature by it")


def _dated(keys: list[ProviderKey]) -> Iterator[Dated]:
    for key in keys:
        if key.kind == CERTIFICATE and "BEGIN CERTIFICATE" in key.pem:
            certificate = pem.certificates(key.pem)[0]
            starts_at = key.starts_at or certificate.not_valid_before_utc
            yield Dated(key.serial, starts_at, key.ends_at or certificate.not_valid_after_utc)
        else:
            yield Dated(key.serial, key.starts_at, key.ends_at)


def _dates(one: Dated, where: str, now: datetime) -> Iterator[Ailment]:
    if one.starts_at is not None and one.starts_at > now:
        what, cure = f"{one.name} is not good before {one.starts_at:%Y-%m-%d %H:%M} UTC", "check it, and this clock"
        yield Ailment(where, what, cure, is_warning=not one.is_own)
    if one.ends_at is None:
        return
    if one.ends_at <= now:
        cure = "fetch its successor and delete this one"
        yield Ailment(where, f"{one.name} has run out", cure, is_warning=not one.is_own)
    elif one.ends_at <= now + SOON:
        yield Ailment(where, f"{one.name} runs out on {one.ends_at:%Y-%m-%d}", "fetch its successor", is_warning=True)
