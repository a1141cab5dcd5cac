"""Attempts about which nobody called back: ask their provider, close what ran out. First there, then here.

A callback may never come, so unpaid attempts are asked about on the vendor's own schedule (WeChat Pay: 5 s, 30 s,
1 min, 3 min, 5 min, 10 min, 30 min after creation), and closed at the provider before they are closed here. Every
round claims its rows first (a guarded update moves `next_ask_at`), then asks, then records: a chaser that dies in
between leaves an attempt that is asked about again at its next turn. What a payment means is confirm's to decide.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q, QuerySet

from payments import inbox, merchants, refunds
from payments.confirm import confirm_payment
from payments.merchants import KeysUnusable
from payments.models import Attempt, Order, Payment
from payments.providers.base import CLOSED, PAID, PAYMENT, REFUND, ProviderError, ProviderUnsure, Receipt, WrongReceiver

log = logging.getLogger(__name__)
OPEN = (Attempt.State.MADE, Attempt.State.READY)
AFTER_CREATION = [timedelta(seconds=s) for s in (5, 30, 60, 180, 300, 600, 1800)]
AT_LEAST_BETWEEN = timedelta(seconds=2)  # a tenant who looks ten times a second asks the provider every other second
AFTER_EXPIRY = timedelta(seconds=60)  # a payment made in the last second may be that slow to show up


def ask_about_due(*, now: datetime, limit: int = 50) -> int:
    """Asks about every attempt whose time has come. Returns how many were asked about."""
    claimed = claim(Q(next_ask_at__lte=now), now=now, limit=limit)
    for attempt in claimed:
        try:
            follow_up(attempt, now=now)
        except Exception:  # one merchant's unusable key must not keep the others' payments from being found
            log.exception("asking about %s failed", attempt.number, extra={"trace": attempt.order.trace})
    return len(claimed)


def ask_now(order: Order, *, now: datetime) -> None:
    """Asks about one order's open attempts because somebody is looking, unless it was done a moment ago."""
    quiet_since = now - AT_LEAST_BETWEEN
    looked_at = Q(order=order) & (Q(asked_at__lte=quiet_since) | Q(asked_at=None, made_at__lte=quiet_since))
    for attempt in claim(looked_at, now=now, limit=5):
        follow_up(attempt, now=now)


def call_off(order: Order, *, now: datetime) -> bool:
    """Closes an order because its payer wants no more of it. False when a provider could not say that it is closed.

    An attempt that turns out to be paid credits instead: then the order is paid, which is an answer too.
    """
    for attempt in claim(Q(order=order), now=now, limit=5):
        follow_up(attempt, now=now, give_up=True)
    still_open = order.attempts.filter(state__in=OPEN)
    if still_open.exclude(channel=Attempt.Channel.ALIPAY_WAP).exists():
        return False
    close_order(order_id=order.pk, now=now)
    return True


def claim(which: Q, *, now: datetime, limit: int) -> list[Attempt]:
    """Takes open attempts for asking: nobody else gets them before their next turn."""
    open_attempts: QuerySet[Attempt] = Attempt.objects.filter(which, state__in=OPEN)
    with transaction.atomic():
        taken = list(
            open_attempts.select_for_update(skip_locked=True, of=("self",))
            .select_related("merchant", "order")
            .order_by("pk")[:limit]
        )
        for attempt in taken:
            attempt.asks += 1
            attempt.asked_at = now
            attempt.next_ask_at = next_turn(attempt, now)
            attempt.save(update_fields=["asks", "asked_at", "next_ask_at"])
    return taken


def next_turn(attempt: Attempt, now: datetime) -> datetime:
    """The vendor's schedule after creation, then when it has run out, then every half hour while it is open."""
    turns = [attempt.made_at + after for after in AFTER_CREATION] + [attempt.expires_at + AFTER_EXPIRY]
    return min((turn for turn in turns if turn > now), default=now + AFTER_CREATION[-1])


def follow_up(attempt: Attempt, *, now: datetime, give_up: bool = False) -> None:
    """Asks the provider about one attempt and does what its answer means. Never inside a transaction.

    `give_up` closes an unpaid attempt although it could still be paid; it is closed anyway once it has run out, or
    when its order was paid by another attempt.
    """
    over = give_up or now >= attempt.expires_at + AFTER_EXPIRY or attempt.order.state == Order.State.PAID
    try:
        state = _ask(attempt, now)
        if state not in (PAID, CLOSED) and over:
            # Closed at the provider, then here; paid in the meantime, it says so and is asked once more.
            state = merchants.client_of(attempt.merchant).close(attempt.number)
            if state == PAID:
                _ask(attempt, now)
        if state == CLOSED or (state != PAID and over and not _can_still_be_made(attempt, now)):
            _close(attempt, now)
        elif attempt.last_error:
            Attempt.objects.filter(pk=attempt.pk).update(last_error="")
    except (ProviderError, WrongReceiver, KeysUnusable) as error:
        Attempt.objects.filter(pk=attempt.pk).update(last_error=str(error)[:64])
        is_ours = isinstance(error, KeysUnusable)
        log.log(
            logging.ERROR if is_ours else logging.WARNING,
            "asked about %s: %s", attempt.number, error, extra={"trace": attempt.order.trace},
        )  # fmt: skip
        if isinstance(error, ProviderUnsure) or is_ours:
            # They may have paid, and we cannot know: nobody is cut over it until the provider can be asked again.
            inbox.keep_power_on_for(attempt.number, merchant_id=attempt.merchant_id, now=now)


def _can_still_be_made(attempt: Attempt, now: datetime) -> bool:
    """A page to pay on that was handed out makes its trade when somebody opens it: asked about until it runs out."""
    return attempt.channel == Attempt.Channel.ALIPAY_WAP and now < attempt.expires_at + AFTER_EXPIRY


def _ask(attempt: Attempt, now: datetime) -> str:
    receipt = merchants.client_of(attempt.merchant).query(attempt.number)
    if receipt.kind in (PAYMENT, REFUND):
        receipt.check_receiver(merchants.snapshot(attempt.merchant).receiver)
        _record(receipt, attempt, now)
    return receipt.trade_state


def _record(receipt: Receipt, attempt: Attempt, now: datetime) -> None:
    """The same doors as for a callback; the query is evidence that can be had again, so it is not kept."""
    trace = attempt.order.trace
    if receipt.kind == REFUND:
        refunds.record_from_outside(receipt, merchant_id=attempt.merchant_id, event_id=None, trace=trace, now=now)
        return
    confirm_payment(
        receipt,
        merchant_id=attempt.merchant_id,
        found_by=Payment.FoundBy.QUERY,
        event_id=None,
        trace=trace,
        now=now,
    )


def _close(attempt: Attempt, now: datetime) -> None:
    Attempt.objects.filter(pk=attempt.pk, state__in=OPEN).update(
        state=Attempt.State.CLOSED, ended_at=now, next_ask_at=None, last_error=""
    )
    if not Attempt.objects.filter(order=attempt.order_id, state__in=OPEN).exists():
        close_order(order_id=attempt.order_id, now=now)


def close_order(*, order_id: int, now: datetime) -> None:
    """Closes an unpaid order here; a genuine payment that still comes makes it paid all the same."""
    closed = Order.objects.filter(pk=order_id, state=Order.State.PLACED).update(state=Order.State.CLOSED, closed_at=now)
    if closed:
        log.info("order %s closed", order_id)
