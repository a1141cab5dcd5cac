"""Place an order, make an attempt, hand the client what it needs to pay.

Order and attempt are committed before the provider hears of them, so a callback can never be faster than our row.
A provider that did not answer leaves the attempt `made`: the same request again (same Idempotency-Key) tries again with
the same number and the same parameters, because a new number could be paid twice.
"""

from __future__ import annotations

import logging
import secrets
import string
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.login import Person
from accounts.models import Identity, Tenancy, User
from billing import money, prepaid
from meters.models import Meter
from payments import merchants
from payments.models import Attempt, Merchant, Order, RechargeLimits
from payments.providers.base import CLOSED, ProviderError, ProviderRefused, ProviderUnsure
from payments.providers.wechat import PAID_ALREADY, USED_OTHERWISE, WeChatPay

log = logging.getLogger(__name__)
ALPHABET = (
    string.digits + string.ascii_uppercase
)  # common to both providers (facts: WeChat refuses some, Alipay others)
FIRST_ASK = timedelta(seconds=5)
WECHAT_MINI, WECHAT_JSAPI, WECHAT_H5, ALIPAY_MINI, ALIPAY_WAP = (
    Attempt.Channel.WECHAT_MINI,
    Attempt.Channel.WECHAT_JSAPI,
    Attempt.Channel.WECHAT_H5,
    Attempt.Channel.ALIPAY_MINI,
    Attempt.Channel.ALIPAY_WAP,
)
PROVIDER_OF = {
    WECHAT_MINI: "wechat",
    WECHAT_JSAPI: "wechat",
    WECHAT_H5: "wechat",
    ALIPAY_MINI: "alipay",
    ALIPAY_WAP: "alipay",
}
# Pages of the provider's own, on which whoever comes may pay: nobody is named beforehand.
BY_ANYBODY = (WECHAT_H5, ALIPAY_WAP)
OPEN = (Attempt.State.MADE, Attempt.State.READY)


class CheckoutRefused(Exception):
    """A recharge that cannot be placed as asked; nothing was written. `code` is for programs, the text for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class KeyUsedOtherwise(CheckoutRefused):
    """This Idempotency-Key came before, with another request."""

    def __init__(self) -> None:
        super().__init__("idempotency_key_reused", _("This Idempotency-Key was used for another request."))


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asks for: a tenant, or (no user) whoever scanned the label on the meter.

    `identity` is who pays in which app; `request_digest` tells the same request from another under the same key.
    """

    user: User | None
    tenancy: Tenancy
    amount_fen: int
    channel: str
    identity: Identity | Person | None
    meter: Meter | None
    idempotency_key: str
    request_digest: str


def place_order(wish: Wish, *, trace: str, now: datetime) -> Order:
    """The order of this wish with its attempt, committed; the one placed before where the key came before.

    Raises CheckoutRefused (and writes nothing) for an ended tenancy, an amount outside the limits, a payer that the
    channel cannot take, or a property for which nobody takes money; KeyUsedOtherwise for another wish under this key.
    """
    if before := _placed_before(wish):
        return before
    if not wish.tenancy.is_open(now):
        raise CheckoutRefused("home_ended", _("This tenancy has ended."))
    _check_amount(wish)
    merchant = _merchant_for(wish, now)
    with transaction.atomic():
        order, is_new = Order.objects.get_or_create(
            **_asked_before(wish),
            defaults={
                "number": new_number("R", now),
                "property": wish.tenancy.property,
                "tenancy": wish.tenancy,
                "user": wish.user,
                "purse": prepaid.purse_of(wish.tenancy),
                "meter": wish.meter,
                "amount_fen": wish.amount_fen,
                "request_digest": wish.request_digest,
                "trace": trace,
                "placed_at": now,
            },
        )
        if is_new:
            make_attempt(order, merchant=merchant, channel=wish.channel, identity=wish.identity, now=now)
            log.info("order %s placed", order.number, extra={"trace": order.trace, "order": order.number})
            return order
    return _placed_before(wish) or order


def _placed_before(wish: Wish) -> Order | None:
    order = Order.objects.filter(**_asked_before(wish)).first()
    if order is not None and order.request_digest != wish.request_digest:
        raise KeyUsedOtherwise
    return order


def _asked_before(wish: Wish) -> dict[str, Any]:
    """Whose key it is: the person's; without one, this home's."""
    if wish.user is not None:
        return {"user": wish.user, "idempotency_key": wish.idempotency_key}
    return {"user__isnull": True, "tenancy": wish.tenancy, "idempotency_key": wish.idempotency_key}


def _check_amount(wish: Wish) -> None:
    limits = RechargeLimits.objects.filter(property=wish.tenancy.property).first() or RechargeLimits()
    if not limits.at_least_fen <= wish.amount_fen <= limits.at_most_fen:
        raise CheckoutRefused(
            "amount_out_of_limits",
            _("Recharge between %(least)s and %(most)s yuan.")
            % {"least": money.to_yuan(limits.at_least_fen), "most": money.to_yuan(limits.at_most_fen)},
        )


def _merchant_for(wish: Wish, now: datetime) -> Merchant:
    provider = PROVIDER_OF[Attempt.Channel(wish.channel)]
    if wish.channel in BY_ANYBODY:
        return offered(wish.tenancy, channel=wish.channel, app_id=None, now=now)
    who = wish.identity
    is_accounts = who is not None and who.app_id == settings.WECHAT_OFFICIAL_APP_ID
    if who is None or who.provider != provider or is_accounts != (wish.channel == WECHAT_JSAPI):
        raise CheckoutRefused("wrong_app", _("Pay in the app in which you are logged in."))
    return offered(wish.tenancy, channel=wish.channel, app_id=who.app_id, now=now)


def offered(tenancy: Tenancy, *, channel: str, app_id: str | None, now: datetime) -> Merchant:
    """Who takes money for this home by this channel. Raises CheckoutRefused channel_not_offered."""
    merchant = merchants.taking_money_for(
        tenancy.property, provider=PROVIDER_OF[Attempt.Channel(channel)], app_id=app_id, now=now
    )
    if merchant is None:
        raise CheckoutRefused("channel_not_offered", _("This property does not take payments this way."))
    return merchant


def make_attempt(
    order: Order, *, merchant: Merchant, channel: str, identity: Identity | Person | None, now: datetime
) -> Attempt:
    """One try to pay this order. At most one is open per order and channel (a constraint keeps it so)."""
    return Attempt.objects.create(
        order=order,
        property_id=order.property_id,
        merchant=merchant,
        channel=channel,
        number=new_number("A", now),
        payer=identity.subject if identity else "",
        app_id=merchant.app_id,
        amount_fen=order.amount_fen,
        made_at=now,
        expires_at=now + timedelta(seconds=settings.ATTEMPT_LIFETIME_S),
        next_ask_at=now + FIRST_ASK,
    )


def prepare(attempt: Attempt, *, payer_ip: str = "") -> dict[str, Any] | None:
    """What the client needs to pay this attempt, asked of its provider now; None when it can no longer be paid, also
    because it was paid a moment ago and nobody has told us yet.

    Must not be called inside a transaction: it waits for the network. Claim is not needed: the provider answers the
    same parameters with the same trade, however often. WeChat wants the payer's address for a payment from outside of
    its app. Raises ProviderUnsure (ask again) or ProviderRefused (final).
    """
    if attempt.state not in OPEN:
        return None
    try:
        return _ask_provider(attempt, payer_ip)
    except merchants.KeysUnusable as error:  # an operator mends it; the payer reads that nobody answers
        log.error("attempt %s: %s", attempt.number, error, extra={"trace": attempt.order.trace})  # noqa: TRY400 (its text says all)
        raise ProviderUnsure("keys_unusable") from error
    except ProviderError as error:
        if isinstance(error, ProviderRefused) and error.code in PAID_ALREADY:
            return None  # whoever reads "refused" here pays once more
        Attempt.objects.filter(pk=attempt.pk).update(last_error=str(error)[:64])
        log.warning("attempt %s: %s", attempt.number, error, extra={"trace": attempt.order.trace})
        raise


def _ask_provider(attempt: Attempt, payer_ip: str) -> dict[str, Any]:
    if attempt.channel == WECHAT_H5:
        return _h5(attempt, payer_ip)
    if attempt.state == Attempt.State.MADE and attempt.channel != ALIPAY_WAP:
        provider = merchants.client_of(attempt.merchant)
        handle = provider.create(
            number=attempt.number,
            amount_fen=attempt.amount_fen,
            description=description(attempt),
            payer=attempt.payer,
            expires_at=attempt.expires_at,
            notify_url=merchants.notify_url(attempt.merchant),
        )
        _made_ready(attempt, handle=handle)
        attempt.handle = handle
    return merchants.pay_parameters(attempt, description=description(attempt))


def _h5(attempt: Attempt, payer_ip: str) -> dict[str, Any]:
    """The address of WeChat's page is good for five minutes, so it is asked for each time and not kept.

    It is also for one address of the payer: who has changed from the wireless network to the mobile one, or opened the
    recharge on another phone, needs another number.
    """
    client = merchants.client_of(attempt.merchant)
    assert isinstance(client, WeChatPay)  # noqa: S101 (the channel is WeChat's)
    try:
        address = _h5_address(attempt, client, payer_ip)
    except ProviderRefused as refused:
        if refused.code != USED_OTHERWISE:
            raise
        attempt = _tried_anew(attempt, client)
        address = _h5_address(attempt, client, payer_ip)
    _made_ready(attempt, handle="")
    back = quote(merchants.page_of(attempt.order), safe="")
    return {"url": f"{address}&redirect_url={back}"}


def _h5_address(attempt: Attempt, client: WeChatPay, payer_ip: str) -> str:
    return client.create_h5(
        number=attempt.number,
        amount_fen=attempt.amount_fen,
        description=description(attempt),
        payer_ip=payer_ip,
        expires_at=attempt.expires_at,
        notify_url=merchants.notify_url(attempt.merchant),
    )


def _tried_anew(attempt: Attempt, client: WeChatPay) -> Attempt:
    """Another attempt at the same order, once this one cannot be paid any more. Raises ProviderUnsure where it can."""
    if client.close(attempt.number) != CLOSED:
        raise ProviderUnsure("not_closed")  # paid meanwhile, most likely: whoever looks at the order will learn it
    now = timezone.now()
    with transaction.atomic():
        order = Order.objects.select_for_update(no_key=True).get(pk=attempt.order_id)
        still_open = Attempt.objects.filter(pk=attempt.pk, state__in=OPEN)
        ended = still_open.update(state=Attempt.State.CLOSED, ended_at=now, next_ask_at=None, last_error="")
        if not ended or order.state != Order.State.PLACED:
            raise ProviderUnsure("ended_meanwhile")
        return make_attempt(order, merchant=attempt.merchant, channel=attempt.channel, identity=None, now=now)


def _made_ready(attempt: Attempt, *, handle: str) -> None:
    made = Attempt.objects.filter(pk=attempt.pk, state=Attempt.State.MADE)
    made.update(state=Attempt.State.READY, handle=handle, last_error="")


def description(attempt: Attempt) -> str:
    """What the payer reads on the bill. Braces and `/=&` never come in: both vendors stumble over some of them."""
    return f"电费充值 {money.to_yuan(attempt.amount_fen)}元"


def new_number(prefix: str, now: datetime) -> str:
    """A number both providers accept and nobody can guess: 26 of their at most 32 letters and digits."""
    return f"{prefix}{now:%y%m%d}" + "".join(secrets.choice(ALPHABET) for _each in range(19))
