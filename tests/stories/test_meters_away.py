"""Meters that sleep or are away: what was paid reaches them when they are back, and no old order acts late."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from billing.prepaid import Source, take_back
from meters.models import Command, Level, TopUp
from tests.gateways import faults
from tests.stories.homes import Home, seen_by
from tests.stories.town import Town

pytestmark = pytest.mark.django_db(transaction=True)
BOTH = pytest.mark.parametrize("held_by", ["server", "meter"])


def goes_offline(town: Town, home: Home) -> None:
    faults(town.fleet, home.meter, offline=True)
    town.until(lambda: not home.is_online(), "we know that it is away")


def spend(home: Home, amount_fen: int) -> None:
    """Money leaves the purse (a refund in cash), as rating will do it, and the power is decided anew."""
    take_back(
        key=f"spent:{home.tenancy.pk}",
        kind="refund",
        purse_id=home.purse.pk,
        amount_fen=amount_fen,
        target=Source("cash", "desk"),
        happened_at=timezone.now(),
        trace="spent",
        actor_id=None,
        reason="moved out",
        now=timezone.now(),
    )


# ---- sleep ----


def test_a_trip_that_a_sleeping_meter_has_received_does_not_fire_after_the_payment(village: Town):
    """It wakes with the trip and what followed it in hand, and obeys the newest alone."""
    home = village.home()
    phone = village.phone_when_heard(home)
    village.recharge(home, phone)
    village.until_power_is_back(home, fen=5000)
    faults(village.fleet, home.meter, sleep=True)
    spend(home, 5000)
    village.until(lambda: newest_unread(village, home) == "open", "the trip lies in the meter, unread")

    order = village.recharge(home, phone, "30.00", wait=True)
    village.until(lambda: newest_unread(village, home) == "closed", "so does what takes it back")
    faults(village.fleet, home.meter, sleep=False)

    village.until(lambda: village.there(home)["shown_fen"] == 3000, "it is awake")
    assert order.payments.count() == 1
    assert home.agrees("closed")
    assert village.moves_of(home) == ["closed"]  # that of the first recharge
    assert village.findings() == []


def newest_unread(town: Town, home: Home) -> str:
    """The newest of the relay's positions that lie in a sleeping meter."""
    unread = [one for one in town.there(home)["commands"] if (one["kind"], one["outcome"]) == ("relay", "waiting")]
    return unread[-1]["position"] if unread else ""


def no_more_tries(home: Home) -> None:
    """Until something else is wanted."""
    Level.objects.filter(meter=home.meter).update(next_try_at=timezone.now() + timedelta(hours=1))


def test_a_trip_that_a_sleeping_meter_has_received_does_not_fire_after_its_deadline(quiet_village: Town):
    """The meter may wake before anything of the payment reaches it: the trip has run out by then."""
    village = quiet_village
    home = village.home(ttl_s=1)
    phone = village.phone_when_heard(home)
    village.recharge(home, phone)
    village.until_power_is_back(home, fen=5000)
    faults(village.fleet, home.meter, sleep=True)
    spend(home, 5000)
    village.until(lambda: newest_unread(village, home) == "open", "the trip lies in the meter, unread")
    no_more_tries(home)  # a fresh one, sent just before the payment, could be obeyed by right
    trips = Command.objects.filter(meter=home.meter, kind="relay", value="open")
    village.until(lambda: not trips.filter(state__in=["queued", "sent"]).exists(), "the trip has run out")

    village.recharge(home, phone, "30.00", wait=True)
    faults(village.fleet, home.meter, sleep=False)

    village.until(lambda: village.there(home)["shown_fen"] == 3000, "it is awake")
    assert village.moves_of(home) == ["closed"]
    assert home.agrees("closed")


def test_a_trip_that_waits_for_an_absent_meter_is_taken_back_by_the_payment(village: Town):
    """Nothing waits at the broker: the meter comes back and never hears of it."""
    home = village.home()
    phone = village.phone_when_heard(home)
    village.recharge(home, phone)
    village.until_power_is_back(home, fen=5000)
    goes_offline(village, home)
    spend(home, 5000)
    trip = Command.objects.get(meter=home.meter, kind="relay", state="queued", value="open")

    village.recharge(home, phone, "30.00", wait=True)
    faults(village.fleet, home.meter, offline=False)

    village.until(lambda: village.there(home)["shown_fen"] == 3000, "it is back")
    trip.refresh_from_db()
    assert (trip.state, trip.sent_at) == ("superseded", None)
    assert village.moves_of(home) == ["closed"]
    assert home.agrees("closed")


# ---- absence ----


@BOTH
def test_two_recharges_of_an_absent_meter_arrive_in_order_when_it_is_back(village: Town, held_by):
    home = village.home(held_by=held_by)
    phone = village.phone_when_heard(home)
    goes_offline(village, home)

    village.recharge(home, phone, wait=True)
    village.recharge(home, phone, "20.00", wait=True)
    assert village.there(home)["relay"] == "open"
    assert "cannot be reached" in seen_by(phone)["power"]["why"]
    faults(village.fleet, home.meter, offline=False)

    village.until_power_is_back(home, fen=7000, recharges=2)
    if held_by == "meter":
        landed = TopUp.objects.filter(meter=home.meter).order_by("number")
        assert list(landed.values_list("number", "amount_fen")) == [(1, 5000), (2, 2000)]
        told = [one for one in village.there(home)["commands"] if one["kind"] == "top_up"]
        assert [(one["number"], one["amount_fen"], one["outcome"]) for one in told] == [
            (1, 5000, "done"),
            (2, 2000, "done"),
        ]
    assert seen_by(phone)["power"]["relay"] == "closed"
    assert village.findings() == []


@BOTH
def test_a_line_that_breaks_again_and_again_loses_and_doubles_nothing(village: Town, held_by):
    home = village.home(held_by=held_by, ttl_s=1)
    phone = village.phone_when_heard(home)

    for _ in range(4):
        village.recharge(home, phone, "10.00")
        faults(village.fleet, home.meter, offline=True)
        faults(village.fleet, home.meter, offline=False, lose_answers=1)

    village.until_power_is_back(home, fen=4000, recharges=4)
    assert village.findings() == []
