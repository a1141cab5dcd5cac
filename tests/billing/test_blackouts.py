"""Whose power is off is told why and how it comes back, and then that it is back; once each, and only while true."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest

from billing import blackouts, holds, review
from billing.models import Blackout, Purse
from meters.models import Level, Meter
from notifications.models import Delivery, Message
from tests import makers
from tests.billing.spent import NOON, a_home
from tests.billing.test_review import look, recharge
from tests.notifications.carried import carry
from tests.racing import race

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)


def report(purse: Purse, relay: str, *, at: Any = NOON) -> None:
    """What the meters of a home say they have, as the intake writes it."""
    assert purse.tenancy is not None
    meters = Meter.objects.filter(installations__room=purse.tenancy.room)
    meters.update(relay=relay, reported_at=at, is_online=True)
    for level in Level.objects.filter(meter__in=meters, kind="relay"):
        agreed_at = at if level.wanted == relay else None
        Level.objects.filter(pk=level.pk).update(reported=relay, agreed_at=agreed_at)


def a_dark_home() -> Purse:
    """Used up, cut, and the meter says so."""
    purse = a_home()
    look(purse)
    report(purse, "open")
    return purse


def own_money(*, relay: str = "open", balance_fen: int = 0) -> Purse:
    """A home whose meter counts its money by itself."""
    room = makers.a_room()
    makers.a_meter(
        room=room,
        held_by="meter",
        relay=relay,
        balance_fen=balance_fen,
        is_online=True,
        reported_at=NOON,
        last_seen_at=NOON,
    )
    return makers.a_purse(tenancy=makers.a_tenancy(room=room))


def told(kind: str) -> list[Message]:
    return list(Message.objects.filter(kind=kind).order_by("pk"))


def test_a_home_that_was_cut_is_told_why_and_how_the_power_comes_back():
    purse = a_dark_home()

    assert blackouts.sweep(now=NOON + SECOND) == 1
    assert blackouts.sweep(now=NOON + 2 * SECOND) == 0

    (message,) = told("power_off")
    assert (message.tenancy_id, message.property_id, message.state) == (purse.tenancy_id, purse.property_id, "waiting")
    assert message.context["cause"] == "spent"
    assert datetime.fromisoformat(message.context["at"]) == NOON
    assert message.context["why"]["en"] == "The balance is used up"
    assert message.context["how"]["en"] == "Recharge, and the power comes back within seconds."
    assert message.context["why"]["zh-hans"] != message.context["why"]["en"]


def test_nobody_is_told_before_the_meter_says_so():
    purse = a_home()
    look(purse)
    report(purse, "closed")

    assert blackouts.sweep(now=NOON) == 0

    assert not Message.objects.filter(kind="power_off").exists()


def test_who_was_told_is_told_when_all_meters_report_that_it_is_back():
    purse = a_dark_home()
    blackouts.sweep(now=NOON)
    carry(kind="power_off")
    recharge(purse, 5000)
    assert blackouts.sweep(now=NOON) == 0  # wanted, and not there yet
    report(purse, "closed", at=NOON + 4 * SECOND)

    assert blackouts.sweep(now=NOON + 5 * SECOND) == 1
    assert blackouts.sweep(now=NOON + 6 * SECOND) == 0

    (message,) = told("power_back")
    assert datetime.fromisoformat(message.context["at"]) == NOON + 4 * SECOND
    assert Blackout.objects.get().ended_at == NOON + 4 * SECOND


def test_what_is_over_before_anybody_was_told_is_not_told():
    purse = a_dark_home()
    blackouts.sweep(now=NOON)
    recharge(purse, 5000)
    report(purse, "closed", at=NOON + SECOND)

    blackouts.sweep(now=NOON + 2 * SECOND)

    assert [one.state for one in told("power_off")] == ["withdrawn"]
    assert told("power_back") == []


def test_each_cut_is_told_anew():
    purse = a_dark_home()
    blackouts.sweep(now=NOON)
    report(purse, "closed")
    Level.objects.update(wanted="closed")
    blackouts.sweep(now=NOON)
    Level.objects.update(wanted="open")
    report(purse, "open")

    blackouts.sweep(now=NOON)

    assert [one.state for one in told("power_off")] == ["withdrawn", "waiting"]


def test_staff_who_hold_it_off_are_named_also_where_money_had_cut_before():
    purse = a_dark_home()
    blackouts.sweep(now=NOON)
    room = purse.tenancy.room
    holds.hold_room(room=room, position="open", reason="burnt socket", by=makers.a_user(), until=None, now=NOON)
    report(purse, "open")

    assert blackouts.sweep(now=NOON) == 1

    first, second = told("power_off")
    assert (first.state, second.state) == ("withdrawn", "waiting")
    assert second.context["cause"] == "hold_open"
    assert "burnt socket" in second.context["why"]["en"]
    assert "A recharge alone" in second.context["how"]["en"]
    assert Blackout.objects.count() == 1


def test_a_meter_that_cuts_by_itself_is_told_of_when_its_report_says_so():
    purse = own_money()

    assert blackouts.sweep(now=NOON) == 0
    meter = Meter.objects.get()
    assert blackouts.follow(meter_ids=[meter.pk], now=NOON) == 1
    assert blackouts.sweep_own(now=NOON) == 0

    (message,) = told("power_off")
    assert (message.tenancy_id, message.context["cause"]) == (purse.tenancy_id, "meter")
    assert message.context["why"]["en"] == "The money in the meter is used up"
    Meter.objects.update(relay="closed", balance_fen=5000)
    carry()
    assert blackouts.sweep(now=NOON) == 1
    assert len(told("power_back")) == 1


def test_the_round_finds_a_meter_that_cut_by_itself_while_no_gateway_told():
    own_money()

    assert blackouts.sweep_own(now=NOON) == 1
    assert blackouts.sweep_own(now=NOON) == 0

    assert len(told("power_off")) == 1


def test_a_meter_that_waits_for_its_button_is_no_light():
    purse = a_dark_home()
    blackouts.sweep(now=NOON)
    Level.objects.filter(kind="relay").update(wanted="permitted")
    report(purse, "permitted")

    assert blackouts.sweep(now=NOON) == 0

    assert Blackout.objects.get().ended_at is None


def test_who_moves_out_in_the_dark_is_told_no_more():
    purse = a_dark_home()
    blackouts.sweep(now=NOON)
    tenancy = purse.tenancy
    tenancy.ends_at = NOON
    tenancy.save()
    report(purse, "closed")

    assert blackouts.sweep(now=NOON + SECOND) == 1

    assert [one.state for one in told("power_off")] == ["withdrawn"]
    assert told("power_back") == []


def test_an_empty_room_is_nobodys_dark():
    room = makers.a_room()
    meter = makers.a_meter(room=room, held_by="meter", relay="open")

    assert blackouts.sweep_own(now=NOON) == blackouts.follow(meter_ids=[meter.pk], now=NOON) == 0


@pytest.mark.django_db(transaction=True)
def test_many_who_look_while_the_light_comes_and_goes_tell_each_once():
    purse = a_dark_home()
    meter_id = Meter.objects.get().pk
    looks = [
        partial(blackouts.sweep, now=NOON + SECOND),
        partial(blackouts.follow, meter_ids=[meter_id], now=NOON + SECOND),
        partial(review.work, now=NOON),
    ]

    race(looks * 3)
    assert (len(told("power_off")), Blackout.objects.count()) == (1, 1)
    carry()
    Level.objects.filter(kind="relay").update(wanted="closed")
    report(purse, "closed", at=NOON + SECOND)
    race([partial(blackouts.sweep, now=NOON + 2 * SECOND), looks[1]] * 4)

    assert len(told("power_back")) == 1
    assert Blackout.objects.get().ended_at is not None


@pytest.mark.django_db(transaction=True)
def test_carried_or_withdrawn_and_never_both_nor_neither():
    """The carrier takes the message at the instant at which the light is back."""
    for _ in range(5):
        Delivery.objects.all().delete()
        Message.objects.all().delete()
        purse = a_dark_home()
        blackouts.sweep(now=NOON)
        Level.objects.filter(kind="relay").update(wanted="closed")
        report(purse, "closed")

        _swept, carried = race([partial(blackouts.sweep, now=NOON + SECOND), partial(carry, kind="power_off")])

        assert len(told("power_back")) == carried


def test_of_many_at_once_each_sweep_tells_some_and_a_gateway_none(monkeypatch):
    monkeypatch.setattr(blackouts, "AT_ONCE", 2)
    for _ in range(3):
        a_dark_home()
    meters = list(Meter.objects.values_list("pk", flat=True))

    assert blackouts.follow(meter_ids=meters, now=NOON) == 0
    assert [blackouts.sweep(now=NOON, limit=2) for _ in range(3)] == [2, 1, 0]

    assert len(told("power_off")) == 3
