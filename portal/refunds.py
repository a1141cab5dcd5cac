"""What of a recharge was given back, or may yet be: a refund that is done, and money that a person still looks into."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.utils.translation import gettext_lazy

from accounts.models import User
from payments import history
from payments.models import Order, Payment

DONE, LOOKED_INTO = "done", "looked_into"
STATES: Final = {
    DONE: gettext_lazy("Given back, by the way it was paid."),
    LOOKED_INTO: gettext_lazy("Paid and not credited. A person looks into it; it is not lost."),
}


@dataclass(frozen=True, slots=True)
class Given:
    """`state` is a key of STATES. `asked_at` is since when it is known of, `finished_at` when the provider gave it back
    (None while it did not)."""

    amount_fen: int
    state: str
    asked_at: datetime
    finished_at: datetime | None

    @property
    def text(self) -> str:
        return str(STATES[self.state])


def of(*, user: User, number: str, now: datetime) -> list[Given] | None:
    """What was given back of the recharge with this number, oldest first; None where they may not look at it."""
    order = history.visible_to(user, now).filter(number=number).first()
    return sorted(_of(order), key=lambda one: one.asked_at) if order else None


def _of(order: Order) -> Iterator[Given]:
    for payment in order.payments.prefetch_related("refunds"):
        for refund in payment.refunds.all():
            yield Given(refund.amount_fen, DONE, min(refund.found_at, refund.refunded_at), refund.refunded_at)
        left_fen = payment.amount_fen - payment.refunded_fen
        if payment.state == Payment.State.SUSPENDED and left_fen > 0:
            yield Given(left_fen, LOOKED_INTO, payment.found_at, None)
