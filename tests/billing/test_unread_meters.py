"""A meter that talks all day and whose readings count for nothing is somebody's work."""

from __future__ import annotations

from datetime import timedelta

import pytest

from billing import rating, unread_meters
from billing.models import Backlog, Doubt, Draw
from billing.rating import accrue
from meters.models import Meter
from notifications.models import WorkItem
from tests.billing.rating import world
from tests.billing.rating.world import HOUR, NOW, START

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def draw() -> Draw:
    """Read a while ago, and heard just now."""
    draw = world.a_draw()
    world.tell([(draw.meter, START + 6 * HOUR, 101_000)])
    accrue.accrue(now=NOW)
    draw.refresh_from_db()
    Meter.objects.update(last_seen_at=draw.last_at + 3 * DAY)
    return draw


def test_a_meter_whose_clock_stands_days_behind_is_listed_until_it_is_read_again(draw):
    later = draw.last_at + 3 * DAY
    world.tell([(draw.meter, START + hours * HOUR, 100_000 + hours) for hours in (1, 2, 3)])  # all of them before
    while rating.work(now=later):
        pass

    assert unread_meters.look(now=later) == 1

    item = WorkItem.objects.get(kind="meters_unread")
    assert (item.detail["unread"], item.detail["meters"]) == (1, draw.meter.serial)
    Draw.objects.update(last_at=later)
    assert unread_meters.look(now=later) == 0
    item.refresh_from_db()
    assert item.state == "resolved"


def test_it_is_listed_once_while_nothing_is_new(draw):
    for minutes in (0, 10, 20):
        unread_meters.look(now=draw.last_at + 3 * DAY + timedelta(minutes=minutes))

    assert WorkItem.objects.get().times == 1


def test_who_tells_the_register_once_a_day_is_read(draw):
    Meter.objects.update(last_seen_at=draw.last_at + DAY)

    assert unread_meters.look(now=draw.last_at + DAY) == 0


def test_what_is_silent_in_doubt_late_or_without_a_price_is_listed_by_others(draw):
    later = draw.last_at + 3 * DAY
    Draw.objects.update(why_not="no_tariff")
    assert unread_meters.look(now=later) == 0
    Draw.objects.update(why_not="")
    about = {"installation": draw.installation, "property_id": draw.property_id}
    doubt = Doubt.objects.create(**about, read_at=later, import_wh=1, reason="jump", found_at=later)
    assert unread_meters.look(now=later) == 0
    doubt.delete()
    late = Backlog.objects.create(**about, from_at=later, reasons=["late"], next_try_at=later)
    assert unread_meters.look(now=later) == 0
    late.delete()
    Meter.objects.update(last_seen_at=draw.last_at)
    assert unread_meters.look(now=later) == 0
