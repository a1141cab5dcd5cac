"""Genuine money that belongs to nobody yet, and how a person moves it to where it belongs."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import User
from billing import prepaid
from billing.models import Purse
from billing.prepaid import Source
from notifications import worklist
from payments.models import Attempt, Payment, ShippingNotice


class NotInSuspense(Exception):
    """Somebody was faster, or the payment was never there; nothing was changed."""


def move_to_purse(*, payment_id: int, purse: Purse, by: User, reason: str, now: datetime) -> Payment:
    """Credits a suspended payment (less what was refunded of it) to a purse, as if it had been paid for it.

    Raises NotInSuspense and changes nothing when the payment is not, or no longer, in suspense; ValueError without a
    reason.
    """
    if not reason.strip():
        raise ValueError(_("Give a reason."))
    with transaction.atomic():
        payment = Payment.held(payment_id)
        left_fen = payment.amount_fen - payment.refunded_fen
        if payment.state != Payment.State.SUSPENDED or left_fen <= 0:
            raise NotInSuspense(_("This payment is not in suspense."))
        payment.state = Payment.State.CREDITED
        payment.purse = purse
        payment.save(update_fields=["state", "purse"])
        prepaid.top_up(
            key=f"suspense:{payment.pk}",
            kind="from_suspense",
            purse_id=purse.pk,
            amount_fen=left_fen,
            source=Source("suspense", f"merchant:{payment.merchant.slug}"),
            happened_at=now,
            trace=payment.trace,
            actor_id=by.pk,
            reason=reason,
            now=now,
        )
        if payment.attempt is not None and payment.attempt.channel == Attempt.Channel.WECHAT_MINI:
            ShippingNotice.objects.get_or_create(payment=payment, defaults={"next_try_at": now})
        worklist.resolve(key=f"payment:{payment.pk}", by=by, resolution=reason, now=now)
    return payment
