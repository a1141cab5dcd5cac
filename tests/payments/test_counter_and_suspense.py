"""Cash at the counter, its correction, and money in suspense: through the same doors, once, with a kept reason."""

from __future__ import annotations

import pytest
from django.utils import timezone

from billing import prepaid
from billing.models import JournalEntry, Transfer
from meters.models import TopUp
from notifications.models import WorkItem
from payments import counter, suspense
from payments.models import CounterReceipt, Payment, ShippingNotice
from tests import makers
from tests.payments.test_confirm import a_home, confirm
from tests.payments.test_races import at_once

pytestmark = pytest.mark.django_db(transaction=True)


def take_money(purse, by, *, amount_fen=5000, form_key="form-1", meter=None):
    return counter.take_money(
        purse=purse,
        amount_fen=amount_fen,
        by=by,
        form_key=form_key,
        meter=meter,
        note="",
        trace="t",
        now=timezone.now(),
    )


@pytest.fixture
def clerk():
    return makers.a_user(is_staff=True)


class TestCash:
    def test_it_credits_the_purse_out_of_the_cash_box(self, clerk):
        purse = a_home()

        receipt = take_money(purse, clerk)

        purse.refresh_from_db()
        assert (purse.paid_fen, receipt.amount_fen) == (5000, 5000)
        assert list(Transfer.objects.values_list("debit__kind", "credit__kind")) == [("cash", "paid")]
        assert JournalEntry.objects.get().actor == clerk

    def test_the_same_form_sent_many_times_at_once_is_one_receipt(self, clerk):
        purse = a_home()

        numbers = at_once([lambda: take_money(purse, clerk).number] * 20)

        purse.refresh_from_db()
        assert (len(set(numbers)), purse.paid_fen) == (1, 5000)

    def test_the_same_form_with_another_amount_is_refused(self, clerk):
        purse = a_home()
        take_money(purse, clerk)

        with pytest.raises(counter.CounterRefused):
            take_money(purse, clerk, amount_fen=6000)

        purse.refresh_from_db()
        assert purse.paid_fen == 5000

    @pytest.mark.parametrize("amount_fen", [0, -1])
    def test_nothing_and_less_is_refused(self, clerk, amount_fen):
        with pytest.raises(counter.CounterRefused):
            take_money(a_home(), clerk, amount_fen=amount_fen)

        assert not CounterReceipt.objects.exists()


class TestCorrection:
    def test_it_takes_the_money_back_by_another_entry(self, clerk):
        purse = a_home()
        receipt = take_money(purse, clerk)

        counter.correct(receipt_id=receipt.pk, by=clerk, reason="wrong room", now=timezone.now())

        purse.refresh_from_db()
        assert purse.paid_fen == 0
        assert JournalEntry.objects.count() == 2
        assert CounterReceipt.objects.get().correction_reason == "wrong room"

    def test_what_is_in_the_meter_is_owed_and_a_person_is_told(self, clerk):
        purse = a_home(held_by="meter")
        receipt = take_money(purse, clerk)
        TopUp.objects.update(state="landed", number=1, landed_at=timezone.now())
        prepaid.settle(now=timezone.now())

        counter.correct(receipt_id=receipt.pk, by=clerk, reason="wrong room", now=timezone.now())

        assert WorkItem.objects.get(kind="correction_left_debt").detail["amount_fen"] == 5000

    def test_many_at_once_correct_once(self, clerk):
        purse = a_home()
        receipt = take_money(purse, clerk)

        def correct() -> bool:
            try:
                counter.correct(receipt_id=receipt.pk, by=clerk, reason="wrong room", now=timezone.now())
            except counter.CounterRefused:
                return False
            return True

        assert sorted(at_once([correct] * 10)) == [False] * 9 + [True]
        purse.refresh_from_db()
        assert purse.paid_fen == 0

    def test_it_wants_a_reason(self, clerk):
        receipt = take_money(a_home(), clerk)

        with pytest.raises(counter.CounterRefused):
            counter.correct(receipt_id=receipt.pk, by=clerk, reason=" ", now=timezone.now())

        assert CounterReceipt.objects.get().corrected_at is None


class TestSuspense:
    @pytest.fixture
    def payment(self) -> Payment:
        attempt = makers.an_attempt(order=makers.an_order(purse=a_home()))
        return Payment.objects.get(pk=confirm(attempt, number="NOBODYS").payment_id)

    def test_a_person_moves_it_to_a_purse(self, payment, clerk):
        purse = a_home()

        suspense.move_to_purse(
            payment_id=payment.pk, purse=purse, by=clerk, reason="tenant showed the bill", now=timezone.now()
        )

        purse.refresh_from_db()
        payment.refresh_from_db()
        assert (purse.paid_fen, payment.state, payment.purse) == (5000, "credited", purse)
        assert WorkItem.objects.get(kind="payment_in_suspense").state == "resolved"

    def test_wechat_is_told_of_the_delivery_of_what_was_moved(self, clerk):
        attempt = makers.an_attempt(order=makers.an_order(purse=a_home()))
        surplus = confirm(attempt, amount_fen=4999)

        suspense.move_to_purse(
            payment_id=surplus.payment_id, purse=a_home(), by=clerk, reason="his", now=timezone.now()
        )

        assert ShippingNotice.objects.get().payment_id == surplus.payment_id

    def test_many_at_once_move_it_once(self, payment, clerk):
        purses = [a_home() for _each in range(8)]

        def move(purse) -> bool:
            try:
                suspense.move_to_purse(payment_id=payment.pk, purse=purse, by=clerk, reason="his", now=timezone.now())
            except suspense.NotInSuspense:
                return False
            return True

        assert sum(at_once([lambda p=p: move(p) for p in purses])) == 1
        for purse in purses:
            purse.refresh_from_db()
        assert sum(purse.paid_fen for purse in purses) == 5000

    def test_it_wants_a_reason(self, payment, clerk):
        with pytest.raises(ValueError, match="reason"):
            suspense.move_to_purse(payment_id=payment.pk, purse=a_home(), by=clerk, reason="", now=timezone.now())

        payment.refresh_from_db()
        assert payment.state == "suspended"

    def test_what_was_credited_is_not_in_suspense(self, clerk):
        attempt = makers.an_attempt(order=makers.an_order(purse=a_home()))
        confirmed = confirm(attempt)

        with pytest.raises(suspense.NotInSuspense):
            suspense.move_to_purse(
                payment_id=confirmed.payment_id, purse=a_home(), by=clerk, reason="x", now=timezone.now()
            )
