"""A meter hangs in another room by now, and tells late what it counted in the old one: the old room pays for it."""

from __future__ import annotations

import pytest

from billing import draws as drawing
from billing.models import Backlog, Draw, Purse, UsageDay
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
