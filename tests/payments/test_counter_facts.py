"""What the counter is told before it takes money or gives it back, and that it then happens."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from billing import holds, prepaid
from meters.models import Command, Meter, TopUp
from payments import counter, counter_facts
from payments.models import CounterReceipt
from tests import makers
from tests.desk import address, at_work, staff_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def place():
    return makers.a_property(name="滨江花园")


@pytest.fixture
def home(place):
    return makers.a_tenancy(room=makers.a_room(place=place), holder=makers.a_user(name="王小明"))


@pytest.fixture
def clerk():
    return makers.a_user(is_staff=True)


def before(home, amount_fen=5000, *, meter=None, **answers):
    asked = {"tenancy": home, "amount": amount_fen, "meter": meter, "means": "cash", "payer": ""} | answers
    return {str(label): str(value) for label, value in counter_facts.before_taking(asked)}


def take(home, clerk, amount_fen=5000, form_key="f", meter=None):
    return counter.take_money(
        purse=prepaid.purse_of(home), amount_fen=amount_fen, by=clerk, form_key=form_key, meter=meter, note="",
        trace="t", now=timezone.now(),
    )  # fmt: skip


def a_meter_with_money(home, **kwargs):
    now = timezone.now()
    told = {"is_online": True, "balance_fen": 1230, "reported_at": now, "purchase_count": 0} | kwargs
    return makers.a_meter(room=home.room, held_by="meter", **told)


def land(top_up):
    TopUp.objects.filter(pk=top_up.pk).update(state="landed", number=1, landed_at=timezone.now())
    prepaid.settle(now=timezone.now())


class TestBeforeMoneyIsTaken:
    def test_where_the_server_holds_it_the_balance_is_told_and_that_the_power_comes_back(self, home, clerk):
        makers.a_meter(room=home.room, relay="open", is_online=True)

        facts = before(home)

        assert facts["balance at the server"] == "¥0.00"
        assert "becomes ¥50.00" in facts["what will happen"]
        assert "comes back within seconds" in facts["what will happen"]
        take(home, clerk)
        assert prepaid.purse_of(home).available_fen() == 5000

    def test_a_meter_that_is_away_gets_its_power_when_it_is_back(self, home):
        makers.a_meter(room=home.room, relay="open")

        assert "as soon as the meter can be reached" in before(home)["what will happen"]

    def test_where_the_meter_holds_it_its_own_balance_is_told_and_what_it_will_be(self, home, clerk):
        meter = a_meter_with_money(home)

        facts = before(home)

        assert facts[f"in meter {meter}"].startswith("¥12.30, reported ")
        assert f"¥50.00 goes on into meter {meter}, which then holds about ¥62.30." in facts["what will happen"]
        assert "power" not in facts["what will happen"]
        take(home, clerk)
        assert TopUp.objects.get().amount_fen == 5000

    def test_earlier_recharges_that_wait_are_told(self, home, clerk):
        a_meter_with_money(home, is_online=False)
        take(home, clerk, 2000)

        facts = before(home)

        assert facts["on its way to a meter"] == "¥20.00"
        assert "offline" in facts[next(name for name in facts if name.startswith("in meter"))]
        assert "¥20.00 of earlier recharges goes into the meter first" in facts["what will happen"]
        assert "about ¥82.30" in facts["what will happen"]
        assert "cannot be reached" in facts["what will happen"]

    def test_a_meter_that_never_reported_is_told_without_a_sum(self, home):
        meter = a_meter_with_money(home, balance_fen=None, reported_at=None)

        facts = before(home)

        assert facts[f"in meter {meter}"] == "not reported yet"
        assert "about" not in facts["what will happen"]

    def test_a_debt_is_paid_back_first(self, home, clerk):
        a_meter_with_money(home)
        receipt = take(home, clerk, 3000)
        land(TopUp.objects.get())
        counter.correct(receipt_id=receipt.pk, by=clerk, reason="typo", now=timezone.now())

        facts = before(home)

        assert facts["balance at the server"] == "-¥30.00"
        assert "¥30.00 of it pays back what is owed." in facts["what will happen"]
        assert "¥20.00 goes on into meter" in facts["what will happen"]
        take(home, clerk, form_key="g")
        assert TopUp.objects.latest("pk").amount_fen == 2000

    def test_too_little_for_a_debt_brings_no_power(self, home, clerk):
        makers.a_policy(home.property)
        makers.a_meter(room=home.room, relay="open", is_online=True)
        purse = prepaid.purse_of(home)
        purse_debt(purse, 9000)

        facts = before(home)

        assert "becomes -¥40.00" in facts["what will happen"]
        assert "does not bring the power back" in facts["what will happen"]

    def test_a_hold_by_staff_is_told(self, home, clerk):
        makers.a_meter(room=home.room, relay="open", is_online=True)
        holds.hold_room(room=home.room, position="open", reason="burst pipe", by=clerk, until=None, now=timezone.now())

        assert "Staff hold the power off (burst pipe)" in before(home)["what will happen"]

    def test_of_both_kinds_of_meter_the_money_stays_at_the_server_unless_one_is_chosen(self, home):
        makers.a_meter(room=home.room, is_online=True)
        own = a_meter_with_money(home)

        assert "at the server becomes ¥50.00" in before(home)["what will happen"]
        assert "goes on into meter" in before(home, meter=own)["what will happen"]

    def test_who_pays_is_the_holder_unless_another_is_named(self, home):
        assert before(home)["received from"] == "王小明"
        assert before(home, payer="his mother")["received from"] == "his mother"
        assert before(home, means="card")["means of payment"] == "bank card at a terminal"


class TestBeforeACorrection:
    def told(self, receipt):
        facts = counter_facts.before_correcting(CounterReceipt.objects.get(pk=receipt.pk))
        return str({str(label): value for label, value in facts}["what will happen"])

    def test_what_is_in_the_meter_leaves_a_debt_and_that_is_told_before(self, home, clerk):
        a_meter_with_money(home)
        receipt = take(home, clerk)
        land(TopUp.objects.get())

        assert "¥50.00 is in the meter or used and does not come back: the home then owes it." in self.told(receipt)
        counter.correct(receipt_id=receipt.pk, by=clerk, reason="typo", now=timezone.now())
        home.purse.refresh_from_db()
        assert home.purse.available_fen() == -5000

    def test_what_was_not_sent_comes_back_and_leaves_none(self, home, clerk):
        a_meter_with_money(home)
        receipt = take(home, clerk)

        assert "owes" not in self.told(receipt)
        counter.correct(receipt_id=receipt.pk, by=clerk, reason="typo", now=timezone.now())
        home.purse.refresh_from_db()
        assert home.purse.available_fen() == 0

    def test_what_a_gateway_has_taken_up_counts_as_gone(self, home, clerk):
        meter = a_meter_with_money(home)
        receipt = take(home, clerk)
        now = timezone.now()
        TopUp.objects.update(state="sent", number=1, sent_at=now)
        command = Command.objects.create(
            id=uuid.uuid4(),
            meter=meter,
            property=home.property,
            kind="top_up",
            top_up=TopUp.objects.get(),
            queued_at=now,
        )

        assert "owes" not in self.told(receipt)  # queued: nobody has taken it up
        command.state, command.sent_at, command.expires_at = "sent", now, now + timedelta(seconds=30)
        command.save(update_fields=["state", "sent_at", "expires_at"])
        assert "owes" in self.told(receipt)

    def test_what_was_used_leaves_a_debt_and_the_power_may_go_off(self, home, clerk):
        makers.a_meter(room=home.room, is_online=True, relay="closed")
        receipt = take(home, clerk)

        assert "the power may be cut" in self.told(receipt)
        assert "owes" not in self.told(receipt)

    def test_it_stands_on_the_page_that_asks_for_the_reason(self, home, clerk, place):
        a_meter_with_money(home)
        receipt = take(home, clerk)
        land(TopUp.objects.get())
        accountant = at_work(staff_of(place, "finance"))

        page = accountant.post(
            address(CounterReceipt, "changelist"), {"action": "correct", "_selected_action": receipt.pk}
        )

        assert "the home then owes it" in page.content.decode()


def purse_debt(purse, fen):
    """A refund made in the provider's console, after the money was used."""
    prepaid.take_back(
        key="console", kind="refund", purse_id=purse.pk, amount_fen=fen, trace="t", actor_id=None, reason="elsewhere",
        target=prepaid.Source("clearing", "merchant:x"), happened_at=timezone.now(), now=timezone.now(),
    )  # fmt: skip
    Meter.objects.update(relay="open")
