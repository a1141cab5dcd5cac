"""Relays held by hand: stronger than money, with a reason, until lifted or over."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import IntegrityError

from accounts.models import Room
from billing import holds, prepaid
from billing.holds import HoldRefused
from billing.models import StaffHold
from meters.models import Level
from tests import makers
from tests.billing.books import NOW, top_up
from tests.racing import race

pytestmark = pytest.mark.django_db
LATER = NOW + timedelta(hours=1)


@pytest.fixture
def room() -> Room:
    """A home with 5.00 yuan and a meter whose money the server holds; its power is wanted on."""
    room = makers.a_room()
    makers.a_meter(room=room)
    top_up(prepaid.purse_of(makers.a_tenancy(room=room)), 500, key="payment:1")
    return room


def hold(room: Room, position: str = "open", **kwargs: Any) -> StaffHold:
    about: dict[str, Any] = {"reason": "leaking pipe", "by": makers.a_user(), "now": NOW, "trace": "t"}
    about["until"] = NOW + timedelta(days=1) if position == "closed" else None
    return holds.hold_room(room=room, position=position, **about | kwargs)


def relay(room: Room) -> tuple[str, str]:
    level = Level.objects.get(meter__installations__room=room, kind="relay")
    return level.wanted, level.reason


def test_power_is_held_off_though_it_is_paid_for_and_comes_back_when_lifted(room: Room) -> None:
    by = makers.a_user()

    placed = hold(room)
    assert relay(room) == ("open", "hold_open")
    assert holds.lift_hold(room=room, by=by, now=LATER, trace="t2") is True

    assert relay(room) == ("closed", "paid")
    placed.refresh_from_db()
    assert (placed.reason, placed.placed_at, placed.lifted_at, placed.lifted_by) == ("leaking pipe", NOW, LATER, by)
    assert Level.objects.get(kind="relay").trace == "t2"


def test_a_recharge_does_not_end_a_hold(room: Room) -> None:
    hold(room)

    top_up(room.tenancies.get().purse, 500, key="payment:2")

    assert relay(room) == ("open", "hold_open")


def test_power_is_held_on_though_nothing_is_left() -> None:
    room = makers.a_room()
    makers.a_meter(room=room)
    makers.a_tenancy(room=room)  # which has no purse yet

    hold(room, "closed")
    assert relay(room) == ("closed", "hold_closed")
    makers.a_cut_ready_home(room, read_at=NOW)
    holds.lift_hold(room=room, by=makers.a_user(), now=LATER)

    assert relay(room) == ("open", "spent")


def test_who_was_held_off_comes_back_where_nobody_may_be_cut() -> None:
    room = makers.a_room()
    makers.a_meter(room=room)
    makers.a_tenancy(room=room)
    hold(room)

    holds.lift_hold(room=room, by=makers.a_user(), now=LATER)

    assert relay(room) == ("closed", "spared")


def test_a_meter_with_its_own_money_is_overruled_and_then_left_to_itself() -> None:
    room = makers.a_room()
    makers.a_meter(room=room, held_by="meter")
    makers.a_tenancy(room=room)

    hold(room)
    assert relay(room) == ("open", "hold_open")
    holds.lift_hold(room=room, by=makers.a_user(), now=LATER)

    assert relay(room)[0] == "auto"


def test_a_room_is_held_once(room: Room) -> None:
    first = hold(room)

    with pytest.raises(HoldRefused, match="held already"):
        hold(room, "closed", reason="other")

    assert StaffHold.objects.get() == first
    assert relay(room) == ("open", "hold_open")


@pytest.mark.parametrize("wrong", [{"reason": " "}, {"until": NOW}, {"until": NOW - timedelta(hours=1)}])
def test_a_hold_has_a_reason_and_an_end_to_come(room: Room, wrong: Any) -> None:
    with pytest.raises(HoldRefused):
        hold(room, **wrong)

    assert not StaffHold.objects.exists()
    assert relay(room) == ("closed", "paid")


def test_a_position_that_is_none_is_ours_to_fix(room: Room) -> None:
    with pytest.raises(ValueError, match="ajar"):
        hold(room, "ajar")


def test_any_other_refusal_of_the_database_is_not_taken_for_a_standing_hold(room: Room) -> None:
    room.property_id = None  # type: ignore[assignment]

    with pytest.raises(IntegrityError, match="property_id"):
        hold(room)


def test_nothing_is_lifted_where_nothing_stands(room: Room) -> None:
    assert holds.lift_hold(room=room, by=makers.a_user(), now=NOW) is False


def test_a_hold_whose_end_has_passed_is_lifted_by_nobody(room: Room) -> None:
    placed = hold(room, until=LATER)

    assert holds.expire_holds(now=LATER - timedelta(seconds=1)) == 0
    assert holds.expire_holds(now=LATER) == 1
    assert holds.expire_holds(now=LATER) == 0

    placed.refresh_from_db()
    assert (placed.lifted_at, placed.lifted_by) == (LATER, None)
    assert relay(room) == ("closed", "paid")


def test_a_hold_that_is_over_but_not_swept_yet_is_in_nobodys_way(room: Room) -> None:
    hold(room, until=LATER)

    second = hold(room, "closed", now=LATER)

    assert StaffHold.objects.get(lifted_at=None) == second
    assert relay(room) == ("closed", "hold_closed")


@pytest.mark.parametrize(("held_by", "afterwards"), [("server", "open"), ("meter", "auto")])
def test_an_empty_room_is_held_too(held_by: str, afterwards: str) -> None:
    room = makers.a_room()
    makers.a_meter(room=room, held_by=held_by)
    makers.a_tenancy(room=room, ends_at=NOW)

    hold(room)
    assert relay(room) == ("open", "hold_open")
    holds.lift_hold(room=room, by=makers.a_user(), now=LATER)

    assert relay(room)[0] == afterwards


def test_a_room_without_a_meter_is_held_for_the_meter_that_will_hang_there() -> None:
    room = makers.a_room()
    purse = prepaid.purse_of(makers.a_tenancy(room=room))
    hold(room)
    makers.a_meter(room=room)

    top_up(purse, 500, key="payment:1")

    assert relay(room) == ("open", "hold_open")


@pytest.mark.django_db(transaction=True)
def test_of_many_who_hold_a_room_at_once_one_does(room: Room) -> None:
    by = makers.a_user()

    answers = race([partial(hold, room, position, by=by) for position in ("open", "closed") * 5])

    assert [type(answer) for answer in answers].count(StaffHold) == 1
    assert [type(answer) for answer in answers].count(HoldRefused) == 9
    standing = StaffHold.objects.get()
    assert relay(room) == (standing.position, f"hold_{standing.position}")


@pytest.mark.django_db(transaction=True)
def test_a_hold_and_money_at_once_end_with_the_hold(room: Room) -> None:
    purse = room.tenancies.get().purse
    calls: list[Any] = [partial(top_up, purse, 100, key=f"payment:r{n}") for n in range(8)]

    race([*calls, partial(hold, room, by=makers.a_user())])

    assert relay(room) == ("open", "hold_open")
