"""Power that was switched off is followed to the light, with a clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from billing import holds, interruptions, supply
from billing.models import Interruption
from meters.models import Installation, Level, Meter, TopUp
from notifications.models import WorkItem
from tests import makers
from tests.billing import spent
from tests.meters.test_commands import a_command
from tests.racing import race

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 23, 4, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.fixture
def level() -> Level:
    room = makers.a_room()
    makers.a_purse(tenancy=makers.a_tenancy(room=room))
    meter = makers.a_meter(room=room)
    return Level.objects.create(
        meter=meter, kind="relay", wanted="open", reason="spent", wanted_at=NOW, next_try_at=NOW, reported="closed"
    )


def want(level: Level, wanted: str, at: datetime) -> None:
    Level.objects.filter(pk=level.pk).update(wanted=wanted, wanted_at=at, agreed_at=None)


def agree(level: Level, at: datetime) -> None:
    level.refresh_from_db()
    Level.objects.filter(pk=level.pk).update(reported=level.wanted, agreed_at=at)


def row() -> Interruption:
    return Interruption.objects.get()


def test_from_the_order_to_the_light_with_its_seconds(level):
    interruptions.sweep(now=NOW)
    assert (row().state, row().cause, row().purse_id is not None) == ("ordered", "spent", True)
    agree(level, NOW + 2 * SECOND)
    interruptions.sweep(now=NOW + 3 * SECOND)
    assert (row().state, row().off_at) == ("off", NOW + 2 * SECOND)
    paid_at = NOW + 600 * SECOND
    want(level, "closed", paid_at)
    interruptions.sweep(now=paid_at + SECOND)
    assert (row().state, row().restore_ordered_at) == ("restoring", paid_at)
    agree(level, paid_at + 4 * SECOND)

    interruptions.follow(meter_ids=[level.meter_id], now=paid_at + 5 * SECOND)

    assert (row().state, row().on_at, row().seconds) == ("over", paid_at + 4 * SECOND, 4.0)
    clock = interruptions.clock(property_id=row().property_id, from_at=NOW, to_at=NOW + timedelta(days=1))
    assert (clock.times, clock.median_s, clock.p99_s) == (1, 4.0, 4.0)


def test_all_of_it_between_two_sweeps_is_told_by_one(level):
    interruptions.sweep(now=NOW)
    agree(level, NOW + SECOND)
    interruptions.sweep(now=NOW + SECOND)
    want(level, "closed", NOW + 2 * SECOND)
    agree(level, NOW + 3 * SECOND)

    assert interruptions.sweep(now=NOW + 4 * SECOND) == 1

    assert (row().state, row().seconds) == ("over", 1.0)


def test_paid_before_it_went_off_is_none(level):
    interruptions.sweep(now=NOW)
    want(level, "closed", NOW + SECOND)
    interruptions.sweep(now=NOW + SECOND)
    assert row().state == "ordered"
    agree(level, NOW + 2 * SECOND)

    interruptions.sweep(now=NOW + 2 * SECOND)

    assert (row().state, row().seconds) == ("void", None)


def obeyed(level: Level, at: datetime) -> None:
    """The meter has answered the command to open."""
    a_command(meter=level.meter, kind="relay", value="open", state="done", answered_at=at)


def test_paid_within_the_instant_it_went_off_was_dark_all_the_same(level):
    interruptions.order(meter_ids=[level.meter_id], now=NOW)
    obeyed(level, NOW + SECOND)
    want(level, "closed", NOW + SECOND)
    agree(level, NOW + 3 * SECOND)

    interruptions.follow(meter_ids=[level.meter_id], now=NOW + 3 * SECOND)

    assert (row().state, row().off_at, row().seconds) == ("over", NOW + SECOND, 2.0)


def test_wanted_on_while_the_meter_says_off_is_dark(level):
    interruptions.order(meter_ids=[level.meter_id], now=NOW)
    want(level, "closed", NOW + SECOND)
    Level.objects.update(reported="open", reported_at=NOW + 2 * SECOND)

    interruptions.sweep(now=NOW + 3 * SECOND)

    assert (row().state, row().off_at, row().restore_ordered_at) == ("restoring", *[NOW + 2 * SECOND] * 2)


def test_an_answer_of_an_earlier_cut_is_none_of_this_one(level):
    obeyed(level, NOW - SECOND)
    interruptions.order(meter_ids=[level.meter_id], now=NOW)
    want(level, "closed", NOW + SECOND)
    agree(level, NOW + 2 * SECOND)

    interruptions.sweep(now=NOW + 2 * SECOND)

    assert row().state == "void"


def test_a_cut_notes_it_in_its_own_transaction():
    purse = spent.a_home()
    spent.accrue(purse, fen=700)

    supply.decide(purse_id=purse.pk, trace="", now=spent.NOON)

    assert (row().state, row().purse_id, row().ordered_at) == ("ordered", purse.pk, spent.NOON)


def test_a_hold_on_an_empty_room_notes_it_too():
    room = makers.a_room()
    makers.a_meter(room=room)

    holds.hold_room(room=room, position="open", reason="works", by=makers.a_user(), until=None, now=NOW)

    assert (row().state, row().room, row().purse) == ("ordered", room, None)


def test_cut_again_before_the_light_came_goes_on(level):
    interruptions.sweep(now=NOW)
    agree(level, NOW + SECOND)
    interruptions.sweep(now=NOW + SECOND)
    want(level, "closed", NOW + 2 * SECOND)
    interruptions.sweep(now=NOW + 2 * SECOND)
    want(level, "open", NOW + 3 * SECOND)

    interruptions.sweep(now=NOW + 3 * SECOND)

    assert (row().state, row().restore_ordered_at, row().off_at) == ("off", None, NOW + SECOND)


def test_what_takes_long_is_listed_until_the_light_is_there(level):
    interruptions.sweep(now=NOW)
    agree(level, NOW)
    interruptions.sweep(now=NOW)
    want(level, "closed", NOW)
    interruptions.sweep(now=NOW + 61 * SECOND)
    interruptions.sweep(now=NOW + 62 * SECOND)
    item = WorkItem.objects.get()
    assert (item.kind, item.state) == ("slow_restore", "open")
    agree(level, NOW + 70 * SECOND)

    interruptions.sweep(now=NOW + 71 * SECOND)

    item.refresh_from_db()
    assert (item.state != "open", item.resolution) == (True, "70 s")


def test_a_relay_that_is_on_is_no_interruption(level):
    want(level, "closed", NOW)
    assert interruptions.sweep(now=NOW) == 0
    assert not Interruption.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_several_who_follow_it_at_once_write_it_once(level):
    race(
        [lambda: interruptions.sweep(now=NOW)] * 3
        + [lambda: interruptions.follow(meter_ids=[level.meter_id], now=NOW)] * 3
    )
    agree(level, NOW + SECOND)
    race([lambda: interruptions.sweep(now=NOW + SECOND)] * 4)
    want(level, "closed", NOW + 2 * SECOND)
    agree(level, NOW + 5 * SECOND)

    race([lambda: interruptions.sweep(now=NOW + 6 * SECOND)] * 6)

    assert (row().state, row().seconds) == ("over", 3.0)


# ---- many at once, and meters that are no longer there ----


def test_a_slow_restore_is_found_behind_any_number_of_homes_in_the_dark(level):
    interruptions.sweep(now=NOW)
    agree(level, NOW)
    interruptions.sweep(now=NOW)
    later = makers.a_meter(room=makers.a_room())
    late = Level.objects.create(
        meter=later, kind="relay", wanted="open", reason="spent", wanted_at=NOW, next_try_at=NOW, reported="open"
    )
    agree(late, NOW)
    interruptions.sweep(now=NOW)
    want(late, "closed", NOW)

    assert interruptions.sweep(now=NOW + SECOND, limit=1) == 1
    assert Interruption.objects.get(meter=later).state == "restoring"
    assert interruptions.sweep(now=NOW + 61 * SECOND, limit=1) == 0
    assert WorkItem.objects.get(kind="slow_restore").detail["meter"] == later.serial
    assert Interruption.objects.get(meter=level.meter_id).state == "off"


def test_what_changes_nothing_is_not_looked_at_again(level, django_assert_num_queries):
    interruptions.sweep(now=NOW)
    agree(level, NOW)
    interruptions.sweep(now=NOW)

    with django_assert_num_queries(2):
        interruptions.sweep(now=NOW + SECOND)


@pytest.mark.parametrize(("was", "state"), [("ordered", "void"), ("off", "over"), ("restoring", "over")])
def test_a_meter_that_is_taken_down_leaves_nobody_in_the_dark(level, was, state):
    interruptions.sweep(now=NOW)
    if was != "ordered":
        agree(level, NOW)
        interruptions.sweep(now=NOW)
    if was == "restoring":
        want(level, "closed", NOW + SECOND)
        interruptions.sweep(now=NOW + 90 * SECOND)
        assert WorkItem.objects.filter(state="open").exists()
    assert row().state == was
    Installation.objects.update(ends_at=NOW + 5 * SECOND)

    interruptions.sweep(now=NOW + 100 * SECOND)

    assert (row().state, row().seconds) == (state, None)
    assert not WorkItem.objects.filter(state="open").exists()


# ---- meters that go by money of their own ----


@pytest.fixture
def own() -> Meter:
    """Off for want of money since NOW, in a home."""
    room = makers.a_room()
    makers.a_purse(tenancy=makers.a_tenancy(room=room))
    meter = makers.a_meter(held_by="meter", room=room)
    return say(meter, "open", NOW, balance_fen=0)


def say(meter: Meter, relay: str, at: datetime, **columns) -> Meter:
    Meter.objects.filter(pk=meter.pk).update(relay=relay, reported_at=at, **columns)
    meter.refresh_from_db()
    return meter


def pay(meter: Meter, at: datetime) -> TopUp:
    return TopUp.objects.create(
        key=f"t{at:%M%S}", meter=meter, property=meter.property, amount_fen=1000, queued_at=at, next_try_at=at
    )


def test_a_meter_with_its_own_money_is_on_the_clock_from_the_payment_to_its_relay(own):
    interruptions.follow(meter_ids=[own.pk], now=NOW)
    assert (row().state, row().cause, row().off_at) == ("off", "meter", NOW)
    paid_at = NOW + 600 * SECOND
    top_up = pay(own, paid_at)
    interruptions.sweep(now=paid_at + SECOND)
    assert (row().state, row().restore_ordered_at) == ("restoring", paid_at)
    TopUp.objects.filter(pk=top_up.pk).update(state="landed", number=1, landed_at=paid_at + 3 * SECOND)
    say(own, "closed", paid_at + 4 * SECOND, balance_fen=1000)

    interruptions.follow(meter_ids=[own.pk], now=paid_at + 5 * SECOND)

    assert (row().state, row().on_at, row().seconds) == ("over", paid_at + 4 * SECOND, 4.0)
    clock = interruptions.clock(property_id=row().property_id, from_at=NOW, to_at=NOW + timedelta(days=1))
    assert (clock.times, clock.median_s) == (1, 4.0)


@pytest.mark.django_db(transaction=True)
def test_several_who_follow_a_meter_with_its_own_money_at_once_write_it_once(own):
    race(
        [lambda: interruptions.sweep_own(now=NOW)] * 3 + [lambda: interruptions.follow(meter_ids=[own.pk], now=NOW)] * 3
    )
    assert row().state == "off"
    pay(own, NOW + 2 * SECOND)
    race([lambda: interruptions.sweep(now=NOW + 3 * SECOND)] * 4)
    assert row().state == "restoring"
    say(own, "closed", NOW + 5 * SECOND, balance_fen=1000)

    race(
        [lambda: interruptions.sweep(now=NOW + 6 * SECOND)] * 3
        + [lambda: interruptions.follow(meter_ids=[own.pk], now=NOW + 6 * SECOND)] * 3
    )

    assert (row().state, row().seconds) == ("over", 3.0)


def test_a_top_up_that_does_not_reach_the_meter_is_listed_as_slow(own):
    assert interruptions.sweep_own(now=NOW) == 1
    assert interruptions.sweep_own(now=NOW) == 0
    pay(own, NOW + SECOND)

    interruptions.sweep(now=NOW + 2 * SECOND)
    interruptions.sweep(now=NOW + 90 * SECOND)

    assert WorkItem.objects.get(state="open").kind == "slow_restore"


def test_a_top_up_that_leaves_the_meter_without_money_is_not_waited_for(own):
    interruptions.sweep_own(now=NOW)
    pay(own, NOW + SECOND)
    interruptions.sweep(now=NOW + 90 * SECOND)
    interruptions.sweep(now=NOW + 90 * SECOND)
    TopUp.objects.update(state="landed", number=1, landed_at=NOW + 91 * SECOND)
    say(own, "open", NOW + 92 * SECOND, balance_fen=-500)

    interruptions.sweep(now=NOW + 93 * SECOND)
    assert (row().state, WorkItem.objects.filter(state="open").count()) == ("off", 0)

    pay(own, NOW + 200 * SECOND)
    interruptions.sweep(now=NOW + 201 * SECOND)
    assert row().restore_ordered_at == NOW + 200 * SECOND


def test_a_meter_that_closes_by_itself_was_dark_and_waited_for_no_payment(own):
    interruptions.sweep_own(now=NOW)
    say(own, "closed", NOW + 30 * SECOND)

    interruptions.sweep(now=NOW + 31 * SECOND)

    assert (row().state, row().on_at, row().seconds) == ("over", NOW + 30 * SECOND, None)


def test_a_hold_over_a_meter_that_is_off_already_is_ours_to_bring_back(own):
    interruptions.sweep_own(now=NOW)
    pay(own, NOW + SECOND)
    Level.objects.create(
        meter=own, kind="relay", wanted="open", reason="hold_open", wanted_at=NOW, next_try_at=NOW, reported="open"
    )

    interruptions.sweep(now=NOW + 90 * SECOND)

    assert (row().state, row().cause) == ("off", "hold_open")
    assert not WorkItem.objects.exists()


def test_the_clock_of_a_property_counts_payments_and_not_holds_that_were_lifted(level):
    Level.objects.update(reason="hold_open")
    interruptions.sweep(now=NOW)
    agree(level, NOW)
    interruptions.sweep(now=NOW)
    want(level, "closed", NOW + SECOND)
    interruptions.sweep(now=NOW + SECOND)
    agree(level, NOW + 3 * SECOND)
    interruptions.sweep(now=NOW + 4 * SECOND)

    assert (row().state, row().seconds) == ("over", 2.0)
    assert interruptions.clock(property_id=row().property_id, from_at=NOW, to_at=NOW + timedelta(days=1)).times == 0
