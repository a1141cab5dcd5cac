"""From a stored event to what follows of it: the same road for the callback itself and for the sweep after a crash."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.db import transaction

from billing import supply
from notifications import worklist
from payments import evidence, merchants, refunds
from payments.confirm import confirm_payment
from payments.models import Merchant, Order, Payment, ProviderEvent
from payments.providers.base import Receipt, WrongReceiver

log = logging.getLogger(__name__)
LEFT_LYING = timedelta(seconds=10)  # longer than any callback in flight: whoever stored it is gone
HOLD_FOR = timedelta(minutes=15)


def act_on(receipt: Receipt, *, merchant: merchants.Snapshot, event_id: int, trace: str, now: datetime) -> None:
    """Does what a verified event asks for. Doing it again changes nothing.

    Raises WrongReceiver when the event is genuine and not for this merchant: it is refused, kept, and on the work
    list; no money moves.
    """
    try:
        receipt.check_receiver(merchant.receiver)
    except WrongReceiver as error:
        evidence.refuse(event_id=event_id, reason=error.reason, now=now)
        worklist.raise_item(
            key=f"wrong-receiver:{event_id}",
            kind="event_for_somebody_else",
            property_id=None,
            detail={"event": event_id, "merchant": merchant.slug, "why": error.reason},
            trace=trace,
            now=now,
        )
        raise
    if receipt.kind == "nothing":
        evidence.finish(event_id=event_id, now=now)
        return
    if receipt.kind == "refund":
        refunds.record_from_outside(receipt, merchant_id=merchant.id, event_id=event_id, trace=trace, now=now)
        return
    confirm_payment(
        receipt, merchant_id=merchant.id, found_by=Payment.FoundBy.CALLBACK, event_id=event_id, trace=trace, now=now
    )


def tell_unreadable(slug: str, *, reason: str, trace: str, now: datetime) -> None:
    """A wrong key of ours, or a change of theirs: what may well be money cannot be read, so a person must look."""
    worklist.raise_item(
        key=f"unreadable:{slug}:{reason}",
        kind="event_unreadable",
        property_id=None,
        detail={"merchant": slug, "why": reason},
        trace=trace,
        now=now,
    )


def sweep(*, now: datetime, limit: int = 100) -> int:
    """Acts on events that were stored and then left lying by a process that died. Returns how many were taken up."""
    lying = ProviderEvent.objects.filter(
        state=ProviderEvent.State.STORED, is_verified=True, received_at__lt=now - LEFT_LYING
    ).order_by("received_at")[:limit]
    for event in lying:
        _take_up(event, now)
    return len(lying)


def _take_up(event: ProviderEvent, now: datetime) -> None:
    receipt = Receipt.from_json(event.receipt or {})
    merchant = merchants.snapshot(Merchant.objects.get(events=event.pk))
    try:
        act_on(receipt, merchant=merchant, event_id=event.pk, trace=event.trace, now=now)
    except WrongReceiver:
        return  # act_on has said so where it must be said
    except Exception:
        # Money is being found out about: nobody is cut for it, a person is told, and the next round tries again.
        log.exception("event %s could not be acted on", event.pk, extra={"trace": event.trace})
        keep_power_on_for(receipt.attempt_number, merchant_id=merchant.id, now=now)
        worklist.raise_item(
            key=f"event:{event.pk}",
            kind="event_not_done",
            property_id=None,
            detail={"event": event.pk},
            trace=event.trace,
            now=now,
        )


def keep_power_on_for(attempt_number: str, *, merchant_id: int, now: datetime) -> None:
    """Says to billing that a payment of this home is being confirmed, for as long as finding out may take."""
    orders = Order.objects.filter(attempts__merchant_id=merchant_id, attempts__number=attempt_number)
    with transaction.atomic():
        order = orders.select_for_update(of=("self",)).first()
        if order is None or order.state == Order.State.PAID:
            return
        supply.place_cut_hold(
            purse_id=order.purse_id, key=f"order:{order.pk}", reason="payment_being_confirmed",
            expires_at=now + HOLD_FOR,
        )  # fmt: skip
