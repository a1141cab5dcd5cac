"""Refunds that were made behind our back, in a provider's own console: not a second credit, and not a secret."""

from __future__ import annotations

import logging
from datetime import datetime

from django.db import transaction

from billing import ledger, prepaid
from billing.prepaid import Source
from notifications import outbox, worklist
from payments import evidence
from payments.confirm import confirm_payment
from payments.models import Payment, Refund
from payments.providers.base import Receipt

log = logging.getLogger(__name__)


def record_from_outside(
    receipt: Receipt, *, merchant_id: int, event_id: int | None, trace: str, now: datetime
) -> Refund | None:
    """Takes a refund that the provider reports out of the purse (or out of suspense) and tells a person.

    Reports may come twice and in any order: where the provider says what was refunded in all (Alipay's `refund_fee`),
    what is new is the difference; where it says what this refund was (WeChat), its number is new or it is not. None
    when nothing is new. A refund heard of before its payment records the payment first, from the same receipt.
    """
    if not receipt.is_refund_done():
        if event_id is not None:
            evidence.finish(event_id=event_id, now=now)
        return None
    with transaction.atomic():  # one with the credit: no top-up may leave in between
        confirmed = confirm_payment(
            receipt, merchant_id=merchant_id, found_by=Payment.FoundBy.CALLBACK, event_id=None, trace=trace, now=now
        )
        payment = Payment.held(confirmed.payment_id)
        refund = _record(payment, receipt, trace=trace, now=now)
        if event_id is not None:
            evidence.finish(event_id=event_id, now=now)
    return refund


def _record(payment: Payment, receipt: Receipt, *, trace: str, now: datetime) -> Refund | None:
    before_fen = payment.refunded_fen if receipt.is_refund_total else 0
    new_fen = min(receipt.refund_fen - before_fen, payment.amount_fen - payment.refunded_fen)
    number = receipt.refund_number or f"{receipt.provider_transaction}-{receipt.refund_fen}"
    if new_fen <= 0 or payment.refunds.filter(number=number).exists():
        return None
    refund = Refund.objects.create(
        payment=payment,
        property_id=payment.property_id,
        number=number,
        amount_fen=new_fen,
        origin=Refund.Origin.CONSOLE,
        refunded_at=receipt.refunded_at or now,
        found_at=now,
        trace=payment.trace,
    )
    payment.refunded_fen += new_fen
    payment.save(update_fields=["refunded_fen"])
    _move_money(payment, refund, now)
    _tell(payment, refund, trace=trace, now=now)
    log.warning(
        "refund %s made outside: %s fen", refund.pk, new_fen, extra={"trace": payment.trace, "event_trace": trace}
    )
    return refund


def _move_money(payment: Payment, refund: Refund, now: datetime) -> None:
    target = Source("clearing", f"merchant:{payment.merchant.slug}")
    if payment.state == Payment.State.CREDITED and payment.purse_id is not None:
        prepaid.take_back(
            key=f"refund:{refund.pk}",
            kind="refund",
            purse_id=payment.purse_id,
            amount_fen=refund.amount_fen,
            target=target,
            happened_at=refund.refunded_at,
            trace=payment.trace,
            actor_id=None,
            reason="made in the provider's console",
            now=now,
        )
        return
    suspense = ledger.account("suspense", target.ref)
    ledger.post(
        key=f"refund:{refund.pk}",
        kind="refund",
        property_id=payment.property_id,
        lines=[ledger.Line(debit=suspense, credit=ledger.account(*target), amount_fen=refund.amount_fen)],
        happened_at=refund.refunded_at,
        trace=payment.trace,
        actor_id=None,
        reason="made in the provider's console",
        now=now,
    )


def _tell(payment: Payment, refund: Refund, *, trace: str, now: datetime) -> None:
    worklist.raise_item(
        key=f"refund:{refund.pk}",
        kind="refund_made_outside",
        property_id=payment.property_id,
        detail={"payment": payment.pk, "refund": refund.pk, "amount_fen": refund.amount_fen},
        trace=trace,
        now=now,
    )
    if payment.order is not None and payment.property_id is not None:
        outbox.leave(
            key=f"refund:{refund.pk}",
            kind="refund_done",
            tenancy_id=payment.order.tenancy_id,
            property_id=payment.property_id,
            context={"amount_fen": refund.amount_fen},
            now=now,
        )
