"""What does not add up between payments and the ledger is named."""

from __future__ import annotations

import pytest
from django.utils import timezone

from billing.audit import audit as run
from payments import audit, counter, suspense
from payments.models import CounterReceipt, Order, Payment, ReceiptNumbers
from tests import makers
from tests.payments.test_confirm import a_home, confirm

pytestmark = pytest.mark.django_db


def broken() -> list[str]:
    return sorted({finding.rule for finding in run(checks=audit.CHECKS, now=timezone.now()).findings})


@pytest.fixture
def busy_day() -> Payment:
    """A recharge, a surplus payment moved to a purse, one left in suspense, cash and its correction."""
    clerk = makers.a_user(is_staff=True)
    attempt = makers.an_attempt(order=makers.an_order(purse=a_home()))
    confirmed = confirm(attempt)
    surplus = confirm(attempt, transaction_id="T2")
    confirm(attempt, transaction_id="T3")
    now = timezone.now()
    suspense.move_to_purse(payment_id=surplus.payment_id, purse=a_home(), by=clerk, reason="his", now=now)
    for form in ("1", "2"):
        receipt = counter.take_money(
            purse=a_home(), amount_fen=700, by=clerk, form_key=form, meter=None, note="", trace="t", now=now
        )
    counter.correct(receipt_id=receipt.pk, by=clerk, reason="typo", now=now)
    return Payment.objects.get(pk=confirmed.payment_id)


def test_a_busy_day_adds_up(busy_day):
    assert broken() == []


def test_it_names_a_payment_of_another_amount(busy_day):
    Payment.objects.filter(pk=busy_day.pk).update(amount_fen=5001)

    assert broken() == ["a payment is in the ledger"]


def test_it_names_a_payment_that_is_gone(busy_day):
    busy_day.shipping.delete()
    busy_day.delete()

    assert broken() == ["a credit has its payment", "a paid order has its payment"]


def test_it_names_an_order_paid_by_nobody(busy_day):
    Order.objects.filter(pk=makers.an_order().pk).update(state="paid", paid_at=timezone.now())

    assert broken() == ["a paid order has its payment"]


def test_it_names_suspense_that_does_not_add_up(busy_day):
    Payment.objects.filter(state="suspended").update(state="credited", purse=a_home())

    assert broken() == ["suspense is what is suspended"]


def test_it_names_a_refund_nobody_posted(busy_day):
    Payment.objects.filter(pk=busy_day.pk).update(refunded_fen=100)

    assert broken() == ["a payment knows its refunds"]


def test_it_names_a_receipt_nobody_posted(busy_day):
    CounterReceipt.objects.filter(corrected_at=None).update(amount_fen=1)

    assert broken() == ["a counter receipt is in the ledger"]


def test_it_names_a_receipt_number_that_is_missing(busy_day):
    ReceiptNumbers.objects.filter(property=CounterReceipt.objects.earliest("pk").property).update(last=2)

    assert broken() == ["receipt numbers run without gaps"]
