"""A meter hangs in another room by now, and tells late what it counted in the old one: the old room pays for it."""

from __future__ import annotations

import pytest

from billing import draws as drawing
from billing.models import Backlog, Doubt, Draw, Purse, UsageDay
from billing.rating import accrue, careful, days
from meters.models import Installation
from tests import makers
from tests.billing.rating import world
from tests.billing.rating.world import HOUR, NOW, ONE_PRICE, START

pytestmark = pytest.mark.django_db
MOVED = START + 30 * HOUR


@pytest.fixture
def rooms() -> tuple[Draw, Draw]:
    """The old room's draw and the new one's; the meter showed 112.0 kWh when it was taken from one to the other."""
    old = world.a_draw(world.a_version(ONE_PRICE))
    place = old.property
    new_room = makers.a_room(place=place)
    makers.a_purse(tenancy=makers.a_tenancy(room=new_room, starts_at=START))
    Installation.objects.filter(pk=old.installation_id).update(ends_at=MOVED, ends_wh=112_000)
    Installation.objects.create(property=place, room=new_room, meter=old.meter, starts_at=MOVED, starts_wh=112_000)
    drawing.align(room_ids=[old.room_id, new_room.pk], now=NOW)
    world.tell([(old.meter, MOVED, 112_000)], stored_at=NOW)
    rate()
    return Draw.objects.get(room=old.room_id), Draw.objects.get(room=new_room)


def rate() -> None:
    while accrue.accrue(now=NOW).batches or careful.work(now=NOW) or days.close(now=NOW):
        pass


def test_a_late_reading_from_before_it_moved_is_the_old_rooms(rooms):
    old, new = rooms
    world.tell([(old.meter, START + 40 * HOUR, 113_000), (old.meter, START + 47 * HOUR, 115_000)], stored_at=NOW + HOUR)
    rate()

    world.tell([(old.meter, START + 20 * HOUR, 111_000)], stored_at=NOW + 2 * HOUR)
    rate()

    assert not Backlog.objects.exists()
    first, second = UsageDay.objects.filter(draw=old).order_by("usage_date")
    assert (first.energy_wh, second.energy_wh) == (11_400, 600)
    new.refresh_from_db()
    assert new.last_wh == 115_000
    assert Purse.objects.get(pk=old.purse_id).paid_fen == -(12_000 * 50_000_000 // 10**9)


def test_what_comes_late_and_cannot_be_right_waits_for_a_person_and_the_other_room_goes_on(rooms):
    """The old room's chain stops before its end: the meter's readings are the new room's all the same."""
    old, new = rooms
    world.tell([(old.meter, START + 29 * HOUR, 112_900)], stored_at=NOW + HOUR)  # more than where it was taken down
    rate()
    world.tell([(old.meter, START + 40 * HOUR, 113_000), (old.meter, START + 47 * HOUR, 115_000)], stored_at=NOW + HOUR)
    rate()

    assert not Backlog.objects.exists()
    assert Doubt.objects.filter(installation=old.installation_id, state="open").exists()
    old.refresh_from_db()
    new.refresh_from_db()
    assert (old.is_current, new.is_current, new.last_wh) == (False, True, 115_000)


def test_a_meter_taken_down_too_low_is_rated_where_it_hangs_now():
    old = world.a_draw(world.a_version(ONE_PRICE))
    world.tell([(old.meter, START + 6 * HOUR, 101_100)], stored_at=NOW)
    rate()
    Installation.objects.filter(pk=old.installation_id).update(ends_at=START + 12 * HOUR, ends_wh=100_700)
    drawing.align(room_ids=[old.room_id], now=NOW)
    rate()
    room = makers.a_room(place=old.property)
    makers.a_purse(tenancy=makers.a_tenancy(room=room, starts_at=START))
    Installation.objects.create(
        property=old.property, room=room, meter=old.meter, starts_at=START + 22 * HOUR, starts_wh=100_700
    )
    drawing.align(room_ids=[room.pk], now=NOW)
    rate()

    world.tell([(old.meter, START + 30 * HOUR, 101_200)], stored_at=NOW + HOUR)
    rate()

    new = Draw.objects.get(room=room)
    assert (new.is_current, new.last_wh, Backlog.objects.count()) == (True, 101_200, 0)
    assert Doubt.objects.filter(installation=old.installation_id, state="open").exists()
