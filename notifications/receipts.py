"""Vendors' news of what they took over: delivered, or not. They may come twice, late, out of order, and before our own
call has returned.

    handed, unknown, lost, claimed -> delivered, undelivered;  undelivered -> delivered
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import Exists, F, OuterRef, QuerySet, Value
from django.db.models.functions import Coalesce, Greatest

from notifications.channels.base import Fate, Receipt
from notifications.claims import cost_milli_fen
from notifications.models import Delivery, EarlyReceipt

log = logging.getLogger(__name__)
State = Delivery.State
KEPT_FOR: Final = timedelta(days=1)  # a receipt of something we never sent
# Only these change when a receipt comes; what was withdrawn or refused was never on its way.
BEFORE: Final[dict[str, tuple[str, ...]]] = {
    Fate.HANDED: (State.UNKNOWN, State.LOST),
    Fate.UNDELIVERED: (State.CLAIMED, State.UNKNOWN, State.LOST, State.HANDED),
    Fate.DELIVERED: (State.CLAIMED, State.UNKNOWN, State.LOST, State.HANDED, State.UNDELIVERED),
}


def note(*, channel: str, receipts: Iterable[Receipt], now: datetime) -> int:
    """Notes what a vendor tells. Returns how many receipts were news; the same again is none.

    One that names a number we do not have yet is kept for it. Plan: an update by reference or by the vendor's number
    for each receipt; vendors send them a few at a time.
    """
    with transaction.atomic():
        return sum(_note(channel, receipt, now) for receipt in receipts)


def use_early(*, channel: str, vendor_ids: Iterable[str], now: datetime) -> None:
    """What came before we knew these numbers; in the transaction that writes the numbers down."""
    wanted = [vendor_id for vendor_id in vendor_ids if vendor_id]
    early = EarlyReceipt.objects.filter(channel=channel, vendor_id__in=wanted).order_by("pk")
    for one in list(early.select_for_update()):
        receipt = Receipt(fate=Fate(one.fate), vendor_id=one.vendor_id, at=one.at, code=one.code, parts=one.parts)
        _apply(channel, receipt, now)
        one.delete()


def use_left(*, now: datetime) -> int:
    """Early receipts of numbers that were written down in the same moment: neither transaction saw the other. Returns
    how many there were.

    Plan: early receipts are few; each looks for its number in deliveries_by_vendor_id.
    """
    named = Delivery.objects.filter(channel=OuterRef("channel"), vendor_id=OuterRef("vendor_id")).exclude(vendor_id="")
    left = list(EarlyReceipt.objects.filter(Exists(named)).values_list("channel", "vendor_id"))
    for channel in {channel for channel, _number in left}:
        with transaction.atomic():
            use_early(channel=channel, vendor_ids=[number for of, number in left if of == channel], now=now)
    return len(left)


def forget_early(*, now: datetime) -> int:
    """Receipts of what we never sent: another deployment with the same account, perhaps."""
    gone, _by_model = EarlyReceipt.objects.filter(received_at__lt=now - KEPT_FOR).delete()
    return gone


def _note(channel: str, receipt: Receipt, now: datetime) -> bool:
    if _apply(channel, receipt, now):
        return True
    if _find(channel, receipt).exists() or not receipt.vendor_id:
        return False
    EarlyReceipt.objects.bulk_create(
        [
            EarlyReceipt(
                channel=channel,
                vendor_id=receipt.vendor_id[:64],
                fate=receipt.fate,
                code=receipt.code[:64],
                parts=receipt.parts,
                at=receipt.at,
                received_at=now,
            )
        ],
        ignore_conflicts=True,
    )
    return False


def _apply(channel: str, receipt: Receipt, now: datetime) -> bool:
    changes: dict[str, object] = {"state": receipt.fate.value, "next_at": None}
    if receipt.fate == Fate.HANDED:
        changes |= {"handed_at": Coalesce("handed_at", Value(receipt.at or now)), "ended_at": None}
    elif receipt.fate == Fate.DELIVERED:
        # A vendor's clock may be behind ours; nothing arrives before it was sent.
        at = Greatest(Value(receipt.at or now), F("claimed_at"))
        changes |= {"handed_at": Coalesce("handed_at", at), "delivered_at": at, "follow_at": None, "ended_at": now}
        changes |= {"code": ""}
    else:
        changes |= {"follow_at": now, "ended_at": now, "code": receipt.code[:64]}
    if receipt.vendor_id:
        changes["vendor_id"] = receipt.vendor_id[:64]
    if receipt.parts:
        changes |= {"parts": receipt.parts, "cost_milli_fen": cost_milli_fen(channel, receipt.parts)}
    return _find(channel, receipt).filter(state__in=BEFORE[receipt.fate]).update(**changes) > 0


def _find(channel: str, receipt: Receipt) -> QuerySet[Delivery]:
    if receipt.reference:
        return Delivery.objects.filter(channel=channel, reference=receipt.reference)
    return Delivery.objects.filter(channel=channel, vendor_id=receipt.vendor_id)
