"""From a verified callback to what follows of it: stored, then acted on, by the callback itself or by the sweep after a
crash.

Callbacks that come at the same time are stored together, and the plain payments among them confirmed together; the
rest is acted on one by one. A callback is stored before anything is done with it, either way.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import DatabaseError, connection, transaction

from billing import supply
from notifications import worklist
from payments import evidence, merchants, refunds
from payments.confirm import Confirmed, confirm_payment, confirm_plain, tell
from payments.evidence import Arrival
from payments.models import Merchant, Order, Payment, ProviderEvent
from payments.providers.base import PAYMENT, Receipt, WrongReceiver
from payments.together import Together

log = logging.getLogger(__name__)
LEFT_LYING = timedelta(seconds=10)  # longer than any callback in flight: whoever stored it is gone
HOLD_FOR = timedelta(minutes=15)
AT_ONCE = 64  # more would make the first of them wait
PATIENCE_S = 3.0  # providers wait five

Settled = tuple[evidence.Stored, Confirmed | None]


def take_in(arrival: Arrival, *, merchant: merchants.Snapshot) -> None:
    """Stores a verified callback and does what it asks for. Raises WrongReceiver as act_on does."""
    stored, confirmed = _together(arrival, merchant) or (evidence.store([arrival])[0], None)
    if confirmed is None:
        act_on(arrival.receipt, merchant=merchant, event_id=stored.id, trace=stored.trace, now=arrival.at)
    else:
        tell(confirmed, arrival.receipt, found_by=Payment.FoundBy.CALLBACK, trace=stored.trace)


def _together(arrival: Arrival, merchant: merchants.Snapshot) -> Settled | None:
    """With those that came at the same time. None where that failed: alone then, storing again what may be stored."""
    if connection.in_atomic_block:
        return None  # another thread's transaction would not see this one's rows
    is_plain = arrival.receipt.kind == PAYMENT and arrival.receipt.is_for(merchant.receiver)
    return _AT_ONCE.do((arrival, is_plain))


def settle(arrivals: Sequence[tuple[Arrival, bool]]) -> list[Settled]:
    """Stores all, then confirms the plain payments among them; each stored event with what it became, or None."""
    stored = evidence.store([arrival for arrival, _is_plain in arrivals])
    candidates = {
        event.id: (event, arrival)
        for event, (arrival, is_plain) in zip(stored, arrivals, strict=True)
        if is_plain and event.state == ProviderEvent.State.STORED
    }
    confirmed: dict[int, Confirmed | None] = {}
    if candidates:
        now = max(arrival.at for arrival, _is_plain in arrivals)
        try:
            confirmed = dict(zip(candidates, confirm_plain(list(candidates.values()), now=now), strict=True))
        except DatabaseError:  # all of it was undone
            log.exception("events %s are acted on one by one", list(candidates))
    return [(event, confirmed.pop(event.id, None)) for event in stored]  # its double comes to a known payment


_AT_ONCE = Together(settle, most=AT_ONCE, patience_s=PATIENCE_S)


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
