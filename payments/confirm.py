"""The heart: a verified payment becomes a credit, once.

Whoever learns of a payment comes through `confirm_payment()`: a callback, the chaser's query, a statement line. What
it does is one SQL function (payments/migrations/0002_confirm.py): it locks the order, looks, records the payment, and
either credits the purse by calling billing's function or puts the money into suspense with its reason.

Callbacks that come at the same time try `confirm_plain()` first (0004_confirm_plain.py): the same for many in a few
statements, where nothing about the payment or its home is unusual. What it leaves out goes the first way.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from payments.evidence import Arrival, Stored
from payments.providers.base import Receipt

log = logging.getLogger(__name__)

# Plan: every step is one look-up by a unique index (attempt, order, payment, tenancy, purse, accounts), one row
# locked each; nothing grows with the tables.
CONFIRM = (
    "select payment, state, suspicion, order_number, trace, is_new"
    " from payments_confirm(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)


# Plan: in the function's own words; statements do not grow in number with the payments.
CONFIRM_PLAIN = """
select event, payment, order_number, trace
  from payments_confirm_plain(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::bigint[], %s::text[],
                              %s::timestamptz[], %s)
"""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What became of a payment: `state` is `credited` or `suspended`, then with its `suspicion`."""

    payment_id: int
    state: str
    suspicion: str
    order_number: str | None
    trace: str
    is_new: bool


def confirm_payment(
    receipt: Receipt, *, merchant_id: int, found_by: str, event_id: int | None, trace: str, now: datetime
) -> Confirmed:
    """Records a verified payment addressed to this merchant; the same payment again is an answer, not an error.

    `found_by` is one of Payment.FoundBy. Runs as one statement in a transaction of its own (or in the caller's).
    The log line carries the order's trace, so that one id leads from the request to the meter's answer, and the
    callback's own beside it.
    """
    paid_at = receipt.paid_at or now
    values: list[Any] = [
        merchant_id, receipt.attempt_number, receipt.provider_transaction, receipt.amount_fen, receipt.payer,
        paid_at, found_by, event_id, trace, now,
    ]  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(CONFIRM, values)
        confirmed = Confirmed(*cursor.fetchone())
    tell(confirmed, receipt, found_by=found_by, trace=trace)
    return confirmed


def confirm_plain(events: Sequence[tuple[Stored, Arrival]], *, now: datetime) -> list[Confirmed | None]:
    """Credits the payments of which there is nothing to decide, and waits for nobody; None for those left out.

    All are addressed to their merchant, in a transaction of their own: all that can be done is done, or nothing.
    """
    rows = [
        (stored.id, arrival.merchant_id, receipt.attempt_number, receipt.provider_transaction, receipt.amount_fen,
         receipt.payer, receipt.paid_at or arrival.at)
        for stored, arrival in events for receipt in [arrival.receipt]
    ]  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(CONFIRM_PLAIN, [*(list(column) for column in zip(*rows, strict=True)), now])
        credited = {
            event_id: Confirmed(payment_id, "credited", "", order_number, trace, is_new=True)
            for event_id, payment_id, order_number, trace in cursor.fetchall()
        }
    return [credited.get(stored.id) for stored, _arrival in events]


def tell(confirmed: Confirmed, receipt: Receipt, *, found_by: str, trace: str) -> None:
    """The one line in the log about a payment that was found."""
    log.info(
        "payment %s of %s fen found by %s: %s%s",
        receipt.provider_transaction,
        receipt.amount_fen,
        found_by,
        confirmed.state if confirmed.is_new else "known already",
        f" ({confirmed.suspicion})" if confirmed.suspicion else "",
        extra={"trace": confirmed.trace, "event_trace": trace, "order": confirmed.order_number},
    )
