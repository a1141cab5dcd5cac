"""A recharge on its way to the light: what has happened, what takes long, and what to do about it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Member, Tenancy
from billing import holds, prepaid
from meters.models import Command, Level, Meter, TopUp
from payments import suspense
from payments.confirm import confirm_payment
from payments.models import Attempt, Order, Payment
from payments.providers.base import PAID, PAYMENT, Receipt
from portal import stages
from tests import makers

pytestmark = pytest.mark.django_db
NAMES = ["placed", "paid", "credited", "sent", "power"]


class Recharge:
    """One recharge, and what happens to it: each step writes what payments, gateway and meter write."""

    def __init__(
        self, *, held_by: str = "server", relay: str = "open", is_online: bool = True, meters: int = 1
    ) -> None:
        room = makers.a_room()
        self.holder = makers.a_user()
        for _each in range(meters):
            makers.a_meter(room=room, held_by=held_by, relay=relay, is_online=is_online)
        self.tenancy: Tenancy = makers.a_tenancy(room=room, holder=self.holder)
        purse = makers.a_purse(tenancy=self.tenancy)
        self.placed_at = timezone.now()
        self.order = makers.an_order(purse=purse, user=self.holder, placed_at=self.placed_at)
        self.attempt = makers.an_attempt(order=self.order)

    @property
    def meters(self) -> Any:
        return Meter.objects.filter(installations__room=self.tenancy.room)

    def later(self, seconds: float) -> datetime:
        return self.placed_at + timedelta(seconds=seconds)

    def pay(self, *, at_s: float = 10, found_s: float = 0.5, amount_fen: int = 5000) -> None:
        receipt = Receipt(
            provider="wechat",
            kind=PAYMENT,
            trade_state=PAID,
            attempt_number=self.attempt.number,
            provider_transaction="T1",
            amount_fen=amount_fen,
            paid_at=self.later(at_s),
            payer="openid-1",
        )
        confirm_payment(
            receipt,
            merchant_id=self.attempt.merchant_id,
            found_by="callback",
            event_id=None,
            trace="event",
            now=self.later(at_s + found_s),
        )

    def send(self, *, at_s: float) -> None:
        sent = {"state": "sent", "sent_at": self.later(at_s)}
        Command.objects.filter(kind="relay").update(**sent, expires_at=self.later(at_s + 30))
        TopUp.objects.update(**sent, number=1)

    def switch_on(self, *, at_s: float) -> None:
        at = self.later(at_s)
        Command.objects.filter(kind="relay").update(state="done", answered_at=at)
        TopUp.objects.update(state="landed", landed_at=at)
        self.meters.update(relay="closed")
        Level.objects.filter(kind="relay").update(reported="closed", reported_at=at, agreed_at=at)

    def switch_off(self) -> None:
        """The balance was used up again."""
        self.meters.update(relay="open")
        Level.objects.filter(kind="relay").update(wanted="open", reason="spent", reported="open", agreed_at=None)

    def look(self, *, at_s: float, is_member: bool = False) -> stages.Stages:
        order = Order.objects.select_related("tenancy__room").get(pk=self.order.pk)
        return stages.of(order, is_member=is_member, now=self.later(at_s))

    def states(self, *, at_s: float) -> list[str]:
        return [str(one.state) for one in self.look(at_s=at_s).stages]


# ---- all is well ----


def test_each_stage_says_when_it_was_passed_and_how_long_after_the_payment():
    recharge = Recharge()
    recharge.pay(at_s=10, found_s=0.5)
    recharge.send(at_s=11)
    recharge.switch_on(at_s=12)

    seen = recharge.look(at_s=13)

    assert [one.name for one in seen.stages] == NAMES
    assert [one.seconds for one in seen.stages] == [None, 0.0, 0.5, 1.0, 2.0]
    assert (seen.stages[0].at, seen.stages[4].at) == (recharge.placed_at, recharge.later(12))
    assert (seen.hint, seen.is_over) == ("", True)


def test_stages_are_passed_one_after_the_other():
    recharge = Recharge()

    seen = [recharge.states(at_s=1)]
    recharge.pay(at_s=2)
    seen.append(recharge.states(at_s=3))
    recharge.send(at_s=3)
    seen.append(recharge.states(at_s=4))
    recharge.switch_on(at_s=4)
    seen.append(recharge.states(at_s=5))

    passed = [2 - 1, 3, 4, 5]
    assert seen == [["done"] * n + ["waiting"] * (5 - n) for n in passed]
    assert recharge.look(at_s=5).is_over


def test_where_the_power_was_on_nothing_is_sent():
    recharge = Recharge(relay="closed")
    Level.objects.create(
        meter=recharge.meters.get(),
        kind="relay",
        wanted="closed",
        reported="closed",
        reason="paid",
        wanted_at=makers.LONG_AGO,
        agreed_at=makers.LONG_AGO,
        next_try_at=makers.LONG_AGO,
    )
    recharge.pay(at_s=2)

    seen = recharge.look(at_s=3)

    assert [str(one.state) for one in seen.stages[3:]] == ["not_needed", "done"]
    assert seen.stages[4].at is None
    assert seen.is_over


def test_a_meter_that_holds_the_money_is_sent_the_money():
    recharge = Recharge(held_by="meter")
    recharge.pay(at_s=2)
    before = recharge.states(at_s=3)
    recharge.send(at_s=4)
    recharge.switch_on(at_s=6)

    seen = recharge.look(at_s=7)

    assert before[3:] == ["waiting", "waiting"]
    assert [one.seconds for one in seen.stages[3:]] == [2.0, 4.0]


def test_of_several_meters_that_hold_money_the_one_that_gets_it_counts():
    recharge = Recharge(held_by="meter", meters=2)
    paid_into = recharge.meters.order_by("pk").last()
    Order.objects.update(meter=paid_into)
    recharge.pay(at_s=2)
    TopUp.objects.update(state="landed", number=1, sent_at=recharge.later(3), landed_at=recharge.later(4))
    Meter.objects.filter(pk=paid_into.pk).update(relay="closed")

    assert recharge.states(at_s=5) == ["done"] * 5


def test_a_room_without_a_meter_waits_for_nothing():
    recharge = Recharge(meters=0)
    recharge.pay(at_s=2)

    seen = recharge.look(at_s=3)

    assert [str(one.state) for one in seen.stages[3:]] == ["not_needed", "not_needed"]
    assert (seen.hint, seen.is_over) == ("", True)


def test_it_asks_five_questions_however_many_meters_hang_there(django_assert_num_queries):
    recharge = Recharge(meters=3)
    recharge.pay(at_s=2)
    order = Order.objects.select_related("tenancy__room").get()

    with django_assert_num_queries(5):
        stages.of(order, is_member=False, now=recharge.later(3))


# ---- what takes long ----


@pytest.mark.parametrize(("at_s", "state"), [(59, "waiting"), (61, "late")])
def test_a_payment_that_nobody_hears_of_for_a_minute_is_said_to_be_asked_for(at_s, state):
    recharge = Recharge()

    seen = recharge.look(at_s=at_s)

    assert str(seen.stages[1].state) == state
    assert bool(seen.hint) == (state == "late")
    assert not seen.is_over


@pytest.mark.parametrize(("after_s", "sent", "power"), [(14, "waiting", "waiting"), (31, "late", "late")])
def test_a_meter_that_is_there_and_does_nothing_is_late_after_half_a_minute(after_s, sent, power):
    recharge = Recharge()
    recharge.pay(at_s=0)

    seen = recharge.look(at_s=after_s)

    assert [str(one.state) for one in seen.stages[3:]] == [sent, power]
    assert bool(seen.hint) == (power == "late")


def test_a_meter_that_is_away_is_told_of_at_once():
    recharge = Recharge(is_online=False)
    recharge.pay(at_s=0)

    assert "cannot be reached" in recharge.look(at_s=1).hint


@pytest.mark.parametrize("is_member", [True, False])
def test_a_meter_that_waits_for_its_button_is_told_of_at_once(is_member):
    recharge = Recharge(relay="permitted")
    recharge.pay(at_s=0)

    assert "Press the button" in recharge.look(at_s=1, is_member=is_member).hint


def test_staff_who_keep_the_power_off_are_named_to_who_lives_there_and_to_nobody_else():
    recharge = Recharge()
    holds.hold_room(
        room=recharge.tenancy.room,
        position="open",
        reason="rewiring",
        by=makers.a_user(is_staff=True, is_superuser=True),
        until=None,
        now=recharge.placed_at,
    )
    recharge.pay(at_s=0)

    theirs, a_payers = recharge.look(at_s=7, is_member=True), recharge.look(at_s=7)

    assert "rewiring" in theirs.hint
    assert "A recharge alone does not bring it back" in theirs.hint
    assert "rewiring" not in a_payers.hint
    assert "still off" in a_payers.hint
    assert not theirs.is_over


def test_a_recharge_that_leaves_a_debt_says_how_much_is_missing_to_who_lives_there_alone():
    from billing import prepaid, supply

    recharge = Recharge()
    purse = recharge.order.purse
    prepaid.take_back(
        key="t", kind="refund", purse_id=purse.pk, amount_fen=8000, target=prepaid.Source("clearing", "merchant:x"),
        happened_at=recharge.placed_at, trace="", actor_id=None, reason="", now=recharge.placed_at,
    )  # fmt: skip
    supply.decide(purse_id=purse.pk, trace="", now=recharge.placed_at)
    Level.objects.filter(kind="relay").update(wanted="open", reason="spent", reported="open")
    recharge.pay(at_s=0)

    theirs, a_payers = recharge.look(at_s=7, is_member=True), recharge.look(at_s=7)

    assert "30.00" in theirs.hint
    assert "30.00" not in a_payers.hint
    assert "still off" in a_payers.hint


def test_what_a_review_may_bring_back_in_a_moment_is_not_called_off_yet():
    recharge = Recharge()
    recharge.pay(at_s=0)
    recharge.switch_off()

    assert recharge.look(at_s=3).hint == ""
    assert recharge.look(at_s=7).hint != ""


@pytest.mark.parametrize("state", ["stuck", "cancelled"])
def test_money_that_does_not_get_into_the_meter_sends_the_payer_to_the_desk(state):
    recharge = Recharge(held_by="meter")
    recharge.pay(at_s=0)
    TopUp.objects.update(state=state)

    assert "ask the desk" in recharge.look(at_s=5).hint


# ---- what is no credit ----


def test_one_that_was_called_off_is_over_and_took_nothing():
    recharge = Recharge()
    Attempt.objects.update(state="closed")
    Order.objects.update(state="closed", closed_at=recharge.later(5))

    seen = recharge.look(at_s=3600)

    assert [(one.name, str(one.state)) for one in seen.stages] == [("placed", "done"), ("paid", "not_needed")]
    assert "nothing was taken" in seen.hint
    assert seen.is_over


def test_who_paid_another_amount_is_not_told_that_nothing_was_taken():
    recharge = Recharge()
    recharge.pay(at_s=2, amount_fen=4000)

    seen = recharge.look(at_s=3)

    assert Order.objects.get().state == "closed"
    assert [str(one.state) for one in seen.stages] == ["done", "done", "late", "waiting", "waiting"]
    assert "not lost" in seen.hint
    assert not seen.is_over


def test_it_goes_on_once_a_person_has_moved_the_money_to_the_home():
    recharge = Recharge(relay="closed")
    recharge.pay(at_s=2, amount_fen=4000)
    suspense.move_to_purse(
        payment_id=Payment.objects.get().pk,
        purse=recharge.order.purse,
        by=makers.a_user(is_staff=True, is_superuser=True),
        reason="paid too little",
        now=recharge.later(60),
    )

    seen = recharge.look(at_s=61)

    assert str(seen.stages[2].state) == "done"
    assert seen.is_over


# ---- later ----


def test_a_power_cut_of_the_next_week_is_no_news_of_this_recharge():
    recharge = Recharge()
    recharge.pay(at_s=0)
    recharge.send(at_s=1)
    recharge.switch_on(at_s=2)
    recharge.switch_off()

    for at_s in (20 * 60, 7 * 86_400):
        seen = recharge.look(at_s=at_s)

        assert [str(one.state) for one in seen.stages] == ["done"] * 5
        assert seen.stages[4].seconds == 2.0
        assert (seen.hint, seen.is_over) == ("", True)


def test_one_that_had_nothing_to_bring_back_says_nothing_of_a_later_cut():
    recharge = Recharge(relay="closed")
    recharge.pay(at_s=0)
    Command.objects.all().delete()
    recharge.switch_off()

    assert recharge.states(at_s=7200) == ["done", "done", "done", "not_needed", "not_needed"]


def test_money_for_a_meter_that_is_away_for_days_is_still_awaited():
    recharge = Recharge(held_by="meter", is_online=False)
    recharge.pay(at_s=0)

    seen = recharge.look(at_s=3 * 86_400)

    assert not seen.is_over
    assert "cannot be reached" in seen.hint


def test_who_moved_out_learns_nothing_of_the_power_of_those_who_came_after():
    recharge = Recharge()
    recharge.pay(at_s=0)
    Tenancy.objects.update(ends_at=recharge.later(600))

    before, there_is_light = recharge.look(at_s=700), None
    recharge.switch_on(at_s=800)
    Command.objects.update(trace="somebody-else", state="done")
    there_is_light = recharge.look(at_s=900)

    assert [one.state for one in before.stages] == [one.state for one in there_is_light.stages]
    assert (before.hint, before.is_over) == ("", True)


# ---- who may ask, and how often ----


def ask(client: Any, recharge: Recharge, user: Any, **headers: str) -> Any:
    path = f"/api/v1/recharges/{recharge.order.number}/progress"
    return client.get(path, headers=makers.a_login(user) | {"Accept-Language": "en"} | headers)


def test_an_app_that_waits_gets_it_once_and_then_only_what_is_new(client):
    recharge = Recharge(relay="closed")
    Attempt.objects.update(asked_at=timezone.now())  # a moment ago: its provider is not asked again
    first = ask(client, recharge, recharge.holder)
    known = {"If-None-Match": first.headers["ETag"]}

    again = ask(client, recharge, recharge.holder, **known)
    recharge.pay(at_s=0)
    paid = ask(client, recharge, recharge.holder, **known)

    assert first.json()["state"] == "placed"
    assert first.json()["stages"][1] == {
        "name": "paid",
        "title": "Paid",
        "state": "waiting",
        "at": None,
        "seconds": None,
    }
    assert (again.status_code, again.content) == (304, b"")
    assert (paid.status_code, paid.json()["state"]) == (200, "paid")


def test_who_shares_the_home_may_watch_and_a_neighbour_may_not(client):
    recharge = Recharge(relay="closed")
    Attempt.objects.update(asked_at=timezone.now())
    sharer, removed, neighbour = makers.a_user(), makers.a_user(), makers.a_user()
    makers.a_tenancy(room=makers.a_room(place=recharge.tenancy.property), holder=neighbour)
    for user, left_at in ((sharer, None), (removed, timezone.now())):
        Member.objects.create(
            tenancy=recharge.tenancy, user=user, role="sharer", joined_at=makers.LONG_AGO, left_at=left_at
        )

    answers = [ask(client, recharge, user).status_code for user in (recharge.holder, sharer, removed, neighbour)]

    assert answers == [200, 200, 404, 404]
    assert client.get(f"/api/v1/recharges/{recharge.order.number}/progress").status_code == 401


def test_what_somebody_without_a_login_paid_is_seen_by_those_who_live_there(client):
    recharge = Recharge(relay="closed")
    Order.objects.update(user=None)
    recharge.pay(at_s=0)

    assert ask(client, recharge, recharge.holder).status_code == 200
    assert ask(client, recharge, makers.a_user()).status_code == 404


def test_a_payment_that_came_since_the_order_was_read_is_not_asked_for_again():
    """A callback commits between the two: the page once said "paid" and offered to pay."""
    tenancy = makers.a_tenancy()
    order = makers.an_order(purse=prepaid.purse_of(tenancy))
    attempt = makers.an_attempt(order=order)
    read_before = Order.objects.get(pk=order.pk)
    Payment.objects.create(
        merchant=attempt.merchant, property=tenancy.property, provider_transaction="t-1", number=attempt.number,
        attempt=attempt, order=order, purse=order.purse, amount_fen=order.amount_fen, paid_at=timezone.now(),
        found_at=timezone.now(), found_by="callback", state="credited", trace=order.trace,
    )  # fmt: skip

    found = stages.of(read_before, is_member=False, now=timezone.now())

    assert read_before.state == Order.State.PLACED
    assert found.state == Order.State.PAID
