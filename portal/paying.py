"""How one can pay for a home on a page: which ways are offered where the page is open, and how much is suggested."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts import guesses
from accounts.deeds import Text
from accounts.login import Person
from accounts.models import Tenancy, User
from billing import money
from meters.models import Meter
from payments import checkout
from payments.checkout import CheckoutRefused, KeyUsedOtherwise
from payments.models import Attempt, Order, RechargeLimits

# Each is a row and some questions to a provider. A mobile carrier puts many phones behind one address.
PER_ADDRESS: Final = guesses.Limit(kind="recharge_address", times=120, window=timedelta(hours=1))
USUAL_FEN: Final = (3_000, 5_000, 10_000, 20_000)
Channel = Attempt.Channel
WAYS: Final[dict[str, Text]] = {
    Channel.WECHAT_JSAPI: gettext_lazy("Pay with WeChat"),
    Channel.WECHAT_H5: gettext_lazy("Pay with WeChat"),
    Channel.ALIPAY_WAP: gettext_lazy("Pay with Alipay"),
}
# What works where a page is open; on a desk WeChat wants the QR code to be scanned.
IN_BROWSER: Final = {
    "wechat": (Channel.WECHAT_JSAPI,),
    "alipay": (Channel.ALIPAY_WAP,),
    "phone": (Channel.WECHAT_H5, Channel.ALIPAY_WAP),
    "desk": (Channel.ALIPAY_WAP,),
}


@dataclass(frozen=True, slots=True)
class Offer:
    """Ways (channel and its label) and amounts in fen, and the limits of the property. No ways: nobody takes money."""

    ways: Sequence[tuple[str, Text]]
    amounts_fen: Sequence[int]
    at_least_fen: int
    at_most_fen: int

    @property
    def within(self) -> str:
        least, most = money.shown(self.at_least_fen), money.shown(self.at_most_fen)
        return _("From %(least)s to %(most)s") % {"least": least, "most": most}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What was filled in, and where from: `key` came with the form, so that sending it twice is one recharge."""

    amount: str
    channel: str
    key: str
    address: str
    openid: str = ""
    meter: Meter | None = None


def offer(tenancy: Tenancy, *, browser: str, now: datetime) -> Offer:
    """What is offered to whoever wants to pay for this home."""
    limits = RechargeLimits.objects.filter(property=tenancy.property_id).first() or RechargeLimits()
    amounts = [fen for fen in USUAL_FEN if limits.at_least_fen <= fen <= limits.at_most_fen]
    ways = [(channel, WAYS[channel]) for channel in IN_BROWSER[browser] if _is_offered(tenancy, channel, now)]
    return Offer(ways, amounts or [limits.at_least_fen], limits.at_least_fen, limits.at_most_fen)


def place(tenancy: Tenancy, ask: Ask, *, user: User | None, trace: str, now: datetime) -> Order:
    """The recharge, placed; the same form again is the same one. Raises CheckoutRefused with a text for the payer."""
    if ask.channel not in WAYS or not 8 <= len(ask.key) <= 64:
        raise CheckoutRefused("invalid", _("This form is not complete. Please open the page again."))
    try:
        amount_fen = money.from_yuan(ask.amount)
    except ValueError as error:
        raise CheckoutRefused("invalid", str(error)) from error
    if user is None:
        _count(ask.address, now)
    said = f"{tenancy.pk} {amount_fen} {ask.channel} {ask.meter.pk if ask.meter else ''} {ask.openid}"
    wish = checkout.Wish(
        user=user,
        tenancy=tenancy,
        amount_fen=amount_fen,
        channel=ask.channel,
        identity=_payer(ask),
        meter=ask.meter,
        idempotency_key=ask.key,
        request_digest=hashlib.sha256(said.encode()).hexdigest(),
    )
    try:
        return checkout.place_order(wish, trace=trace, now=now)
    except KeyUsedOtherwise as error:
        text = _("This page has begun another recharge already. Press again if you want a second one.")
        raise CheckoutRefused(error.code, text) from error


def _count(address: str, now: datetime) -> None:
    try:
        guesses.spend(PER_ADDRESS, who=address[:64], now=now)
    except guesses.TooManyGuessesError as error:
        raise CheckoutRefused("throttled", _("Too many recharges were begun from here. Try again later.")) from error


def _payer(ask: Ask) -> Person | None:
    if ask.channel != Channel.WECHAT_JSAPI:
        return None
    if not ask.openid:
        raise CheckoutRefused("wrong_app", _("WeChat has not said who pays. Please open the page again."))
    return Person("wechat", settings.WECHAT_OFFICIAL_APP_ID, ask.openid, "")


def _is_offered(tenancy: Tenancy, channel: str, now: datetime) -> bool:
    app_id = settings.WECHAT_OFFICIAL_APP_ID if channel == Channel.WECHAT_JSAPI else None
    if app_id == "":
        return False
    try:
        checkout.offered(tenancy, channel=channel, app_id=app_id, now=now)
    except CheckoutRefused:
        return False
    return True
