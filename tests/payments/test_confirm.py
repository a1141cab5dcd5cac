"""`payments_confirm`, also against an oracle: the same decisions in Python, over everything that can have happened."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.models import JournalEntry, Purse, Transfer
from meters.models import Command, Level, TopUp
from notifications.models import Message, WorkItem
from payments.confirm import Confirmed, confirm_payment
from payments.models import Attempt, Order, Payment, ShippingNotice
from payments.providers.base import PAID, PAYMENT, Receipt
from tests import makers

pytestmark = pytest.mark.django_db


def receipt_of(number, *, transaction_id="T1", amount_fen=5000, **kwargs):
    return Receipt(
        **{
            "provider": "wechat",
            "kind": PAYMENT,
            "trade_state": PAID,
            "attempt_number": number,
            "provider_transaction": transaction_id,
            "amount_fen": amount_fen,
            "paid_at": timezone.now(),
            "payer": "openid-1",
        }
        | kwargs
    )


def confirm(attempt: Attempt, **kwargs: Any) -> Confirmed:
    return confirm_payment(
        receipt_of(kwargs.pop("number", attempt.number), **kwargs),
        merchant_id=attempt.merchant_id,
        found_by="callback",
        event_id=None,
        trace="event-trace",
        now=timezone.now(),
    )


def a_home(*, held_by: str = "server") -> Purse:
    room = makers.a_room()
    makers.a_meter(room=room, held_by=held_by, is_online=True)
    return makers.a_purse(tenancy=makers.a_tenancy(room=room))


class TestWhatItWrites:
    def test_it_marks_order_and_attempt_paid_and_leaves_a_message(self):
        attempt = makers.an_attempt(order=makers.an_order(purse=a_home()))

        confirmed = confirm(attempt)

        attempt.refresh_from_db()
        assert (attempt.state, attempt.order.state, attempt.next_ask_at) == ("paid", "paid", None)
        assert Message.objects.get().context == {"amount_fen": 5000}
        assert confirmed.trace == attempt.order.trace

    def test_one_trace_leads_from_the_order_to_the_commands(self):
        attempt = makers.an_attempt(order=makers.an_order(purse=a_home()))

        confirm(attempt)

        traces = {JournalEntry.objects.get().trace, *Command.objects.values_list("trace", flat=True)}
        assert traces == {attempt.order.trace}

    def test_it_wants_the_relay_closed_and_the_balance_shown(self):
        confirm(makers.an_attempt(order=makers.an_order(purse=a_home())))

        assert dict(Level.objects.values_list("kind", "wanted")) == {"relay": "closed", "show": "5000"}

    def test_it_queues_a_top_up_where_the_meter_holds_the_money(self):
        purse = a_home(held_by="meter")

        confirmed = confirm(makers.an_attempt(order=makers.an_order(purse=purse)))

        top_up = TopUp.objects.get()
        assert (top_up.key, top_up.amount_fen, top_up.state) == (f"payment:{confirmed.payment_id}", 5000, "waiting")
        purse.refresh_from_db()
        assert (purse.paid_fen, purse.in_transit_fen) == (0, 5000)

    def test_a_debt_is_paid_back_before_anything_goes_into_the_meter(self):
        from billing import prepaid

        purse = a_home(held_by="meter")
        prepaid.take_back(
            key="t", kind="refund", purse_id=purse.pk, amount_fen=2000, target=prepaid.Source("clearing", "merchant:x"),
            happened_at=timezone.now(), trace="", actor_id=None, reason="", now=timezone.now(),
        )  # fmt: skip

        confirm(makers.an_attempt(order=makers.an_order(purse=purse)))

        purse.refresh_from_db()
        assert (purse.paid_fen, purse.in_transit_fen) == (0, 3000)
        assert TopUp.objects.get().amount_fen == 3000

    def test_the_money_goes_into_the_meter_that_the_order_names(self):
        purse = a_home(held_by="meter")
        second = makers.a_meter(room=purse.tenancy.room, held_by="meter")

        confirm(makers.an_attempt(order=makers.an_order(purse=purse, meter=second)))

        assert TopUp.objects.get().meter == second

    def test_wechat_is_to_be_told_of_the_delivery_and_alipay_is_not(self):
        confirm(makers.an_attempt(order=makers.an_order(purse=a_home())))
        merchant = makers.a_merchant(provider="alipay")
        confirm(makers.an_attempt(order=makers.an_order(purse=a_home()), merchant=merchant))

        assert ShippingNotice.objects.get().payment.merchant.provider == "wechat"

    def test_another_open_attempt_is_asked_about_at_once(self):
        order = makers.an_order(purse=a_home())
        paid = makers.an_attempt(order=order)
        other = makers.an_attempt(
            order=order, merchant=makers.a_merchant(provider="alipay"), next_ask_at=timezone.now() + timedelta(hours=1)
        )

        confirm(paid)

        other.refresh_from_db()
        assert other.next_ask_at <= timezone.now()

    def test_an_unknown_order_belongs_to_the_only_property_of_the_merchant(self):
        attempt = makers.an_attempt(order=makers.an_order(purse=a_home()))

        confirm(attempt, number="ANOTHERSYSTEM")

        assert Payment.objects.get().property == attempt.property

    def test_it_rolls_back_whole_when_the_caller_does(self):
        attempt = makers.an_attempt(order=makers.an_order(purse=a_home()))

        with transaction.atomic():
            confirm(attempt)
            transaction.set_rollback(True)

        attempt.refresh_from_db()
        assert (attempt.state, Payment.objects.count(), Transfer.objects.count()) == ("ready", 0, 0)


class Oracle:
    """What a verified payment means, decided row by row by somebody who is not in a hurry."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[str, str]] = {}
        self.credited_fen = 0
        self.suspended_fen = 0

    def confirm(self, order: Order, attempt: Attempt | None, transaction_id: str, amount_fen: int) -> tuple[str, str]:
        if transaction_id in self.known:
            return self.known[transaction_id]
        order.refresh_from_db()
        why = self.why(order, attempt, amount_fen)
        self.known[transaction_id] = ("suspended", why) if why else ("credited", "")
        if why:
            self.suspended_fen += amount_fen
        else:
            self.credited_fen += amount_fen
        return self.known[transaction_id]

    @staticmethod
    def why(order: Order, attempt: Attempt | None, amount_fen: int) -> str:
        if attempt is None:
            return "unknown_order"
        if amount_fen != attempt.amount_fen:
            return "wrong_amount"
        if order.state == Order.State.PAID:
            return "surplus"
        if order.tenancy.ends_at is not None and order.tenancy.ends_at <= timezone.now():
            return "tenancy_ended"
        return ""


steps = st.lists(
    st.tuples(
        st.sampled_from(["first", "second", "nobody's"]),  # which attempt is paid
        st.sampled_from(["T1", "T2", "T3", "T4"]),  # the provider's transaction
        st.sampled_from([5000, 5000, 4999, 1]),
        st.sampled_from(["", "", "close", "move out"]),  # what happens before
    ),
    max_size=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=steps, held_by=st.sampled_from(["server", "meter"]))
def test_it_decides_as_the_oracle_whatever_comes(steps, held_by):
    with transaction.atomic():
        purse = a_home(held_by=held_by)
        order = makers.an_order(purse=purse)
        first = makers.an_attempt(order=order)
        second = makers.an_attempt(order=order, merchant=first.merchant, channel="alipay_mini")
        attempts = {"first": first, "second": second, "nobody's": None}
        oracle = Oracle()

        for which, transaction_id, amount_fen, before in steps:
            if before == "close":
                Order.objects.filter(pk=order.pk, state="placed").update(state="closed", closed_at=timezone.now())
            if before == "move out":
                order.tenancy.ends_at = timezone.now() - timedelta(seconds=1)
                order.tenancy.save(update_fields=["ends_at"])
            attempt = attempts[which]
            expected = oracle.confirm(order, attempt, transaction_id, amount_fen)

            confirmed = confirm(
                first,
                number=attempt.number if attempt else "NOBODYS",
                transaction_id=transaction_id,
                amount_fen=amount_fen,
            )

            assert (confirmed.state, confirmed.suspicion) == expected

        purse.refresh_from_db()
        suspended = sum(p.amount_fen for p in Payment.objects.filter(state="suspended"))
        assert purse.paid_fen + purse.in_transit_fen == oracle.credited_fen
        assert suspended == oracle.suspended_fen
        assert WorkItem.objects.filter(kind="payment_in_suspense").count() == sum(
            1 for state, _why in oracle.known.values() if state == "suspended"
        )
        transaction.set_rollback(True)
