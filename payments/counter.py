"""Money at the property's counter: a receipt, and its correction by another entry."""

from __future__ import annotations

import hashlib
from datetime import datetime

from django.db import transaction
from django.db.models import OuterRef, Q, Subquery, Sum
from django.utils.translation import gettext as _

from accounts.models import User
from billing import prepaid
from billing.models import Purse
from billing.prepaid import Source
from meters import topups
from meters.models import Command, Meter, TopUp
from notifications import worklist
from payments.models import CounterReceipt, Means, ReceiptNumbers


class CounterRefused(Exception):
    """What the counter asked cannot be done; nothing was changed. The text is for the person at the counter."""


def take_money(
    *,
    purse: Purse,
    amount_fen: int,
    by: User,
    form_key: str,
    meter: Meter | None,
    means: Means = Means.CASH,
    payer: str = "",
    note: str,
    trace: str,
    now: datetime,
) -> CounterReceipt:
    """Credits money that came over the counter to a purse and returns its receipt, numbered without gaps.

    `form_key` is the token of the form that was filled in: the same form sent twice gives the same receipt. Raises
    CounterRefused for an amount below one fen, or a form that came before with another amount, purse or means.
    Lock order: the property's receipt numbers, then Purse.
    """
    if amount_fen <= 0:
        raise CounterRefused(_("The amount must be above zero."))
    with transaction.atomic():
        numbers = _locked_numbers(purse.property_id)
        receipt, is_new = CounterReceipt.objects.get_or_create(
            form_digest=hashlib.sha256(form_key.encode()).hexdigest()[:32],
            defaults={
                "number": f"{numbers.property.code}-{numbers.last + 1:06d}",
                "property_id": purse.property_id,
                "purse": purse,
                "meter": meter,
                "amount_fen": amount_fen,
                "means": means,
                "payer": payer,
                "note": note,
                "taken_at": now,
                "taken_by": by,
                "trace": trace,
            },
        )
        if not is_new:
            if (receipt.purse_id, receipt.amount_fen, receipt.means) != (purse.pk, amount_fen, means):
                raise CounterRefused(_("This form was sent before with other contents. Open a new one."))
            return receipt
        numbers.last += 1
        numbers.save(update_fields=["last"])
        prepaid.top_up(
            key=f"counter:{receipt.pk}",
            kind="counter",
            purse_id=purse.pk,
            amount_fen=amount_fen,
            source=_taken_into(receipt),
            meter_id=meter.pk if meter else None,
            happened_at=now,
            trace=trace,
            actor_id=by.pk,
            reason=note,
            now=now,
        )
    return receipt


def _locked_numbers(property_id: int) -> ReceiptNumbers:
    """Held until the receipt is committed: whoever comes next waits, and a receipt that fails leaves no gap."""
    ReceiptNumbers.objects.get_or_create(property_id=property_id)
    return ReceiptNumbers.objects.select_for_update(of=("self",)).select_related("property").get(pk=property_id)


def debt_after_correction_fen(receipt: CounterReceipt) -> int:
    """What the purse would owe if this receipt were corrected now: what is in the meter, or used, does not come back.

    What was to go on into a meter and has not been sent does. A forecast, to be told before: nothing is locked.
    """
    purse = Purse.objects.get(pk=receipt.purse_id)
    return max(0, receipt.amount_fen - purse.available_fen() - _not_sent_fen(purse))


def _not_sent_fen(purse: Purse) -> int:
    """What waits for a meter and no gateway has taken up, as `topups.cancel` will see it."""
    if purse.tenancy_id is None:
        return 0
    newest = Command.objects.filter(top_up=OuterRef("pk"), kind=Command.Kind.TOP_UP).order_by("-queued_at", "-pk")
    rows = topups.not_sent(tenancy_id=purse.tenancy_id).annotate(told=Subquery(newest.values("state")[:1]))
    mine = rows.filter(Q(state=TopUp.State.WAITING) | Q(told=Command.State.QUEUED))
    return int(mine.order_by().aggregate(fen=Sum("amount_fen", default=0))["fen"])


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
            target=_taken_into(receipt),
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


def _taken_into(receipt: CounterReceipt) -> Source:
    """The cash box, which somebody counts in the evening; all else is on its way to the property's own account."""
    if receipt.means == Means.CASH:
        return Source("cash", f"property:{receipt.property_id}")
    return Source("clearing", f"property:{receipt.property_id}:{receipt.means}")
