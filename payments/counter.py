"""Cash at the property's counter: a receipt, and its correction by another entry."""

from __future__ import annotations

import hashlib
from datetime import datetime

from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import User
from billing import prepaid
from billing.models import Purse
from billing.prepaid import Source
from meters.models import Meter
from notifications import worklist
from payments.models import CounterReceipt


class CounterRefused(Exception):
    """What the counter asked cannot be done; nothing was changed. The text is for the person at the counter."""


def take_cash(
    *, purse: Purse, amount_fen: int, by: User, form_key: str, meter: Meter | None, note: str, trace: str, now: datetime
) -> CounterReceipt:
    """Credits cash to a purse and returns its receipt. The same form sent twice gives the same receipt.

    `form_key` is the token of the form that was filled in; it becomes the receipt's number. Raises CounterRefused for
    an amount below one fen, or a form that came before with another amount or purse.
    """
    if amount_fen <= 0:
        raise CounterRefused(_("The amount must be above zero."))
    number = "C" + hashlib.sha256(form_key.encode()).hexdigest()[:20].upper()
    with transaction.atomic():
        receipt, is_new = CounterReceipt.objects.get_or_create(
            number=number,
            defaults={
                "property_id": purse.property_id,
                "purse": purse,
                "meter": meter,
                "amount_fen": amount_fen,
                "note": note,
                "taken_at": now,
                "taken_by": by,
                "trace": trace,
            },
        )
        if not is_new:
            if (receipt.purse_id, receipt.amount_fen) != (purse.pk, amount_fen):
                raise CounterRefused(_("This form was sent before with other contents. Open a new one."))
            return receipt
        prepaid.top_up(
            key=f"counter:{receipt.pk}",
            kind="counter",
            purse_id=purse.pk,
            amount_fen=amount_fen,
            source=_cash_box(receipt),
            meter_id=meter.pk if meter else None,
            happened_at=now,
            trace=trace,
            actor_id=by.pk,
            reason=note,
            now=now,
        )
    return receipt


def correct(*, receipt_id: int, by: User, reason: str, now: datetime) -> CounterReceipt:
    """Takes a receipt's money back out of the purse, by another entry with a reason; once.

    What has gone on into a meter stays there and leaves the purse in debt, which the next recharge pays back first.
    Raises CounterRefused without a reason, or when the receipt was corrected before.
    """
    if not reason.strip():
        raise CounterRefused(_("Give a reason."))
    with transaction.atomic():
        receipt = CounterReceipt.objects.select_for_update().get(pk=receipt_id)
        if receipt.corrected_at is not None:
            raise CounterRefused(_("This receipt was corrected before."))
        receipt.corrected_at, receipt.corrected_by, receipt.correction_reason = now, by, reason
        receipt.save(update_fields=["corrected_at", "corrected_by", "correction_reason"])
        prepaid.take_back(
            key=f"counter:{receipt.pk}:corrected",
            kind="counter_correction",
            purse_id=receipt.purse_id,
            amount_fen=receipt.amount_fen,
            target=_cash_box(receipt),
            happened_at=now,
            trace=receipt.trace,
            actor_id=by.pk,
            reason=reason,
            now=now,
        )
        _tell_of_debt(receipt, now)
    return receipt


def _tell_of_debt(receipt: CounterReceipt, now: datetime) -> None:
    """What went into a meter, or was used, cannot be taken back: somebody has to talk to the tenant."""
    purse = Purse.objects.get(pk=receipt.purse_id)
    if purse.available_fen() < 0:
        worklist.raise_item(
            key=f"correction:{receipt.pk}",
            kind="correction_left_debt",
            property_id=receipt.property_id,
            detail={"receipt": receipt.number, "amount_fen": -purse.available_fen()},
            trace=receipt.trace,
            now=now,
        )


def _cash_box(receipt: CounterReceipt) -> Source:
    return Source("cash", f"property:{receipt.property_id}")
