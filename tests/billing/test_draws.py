"""Who pays for a meter's energy follows tenancies and hangings, whoever writes them, until a day is closed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from billing import draws
from billing.models import Backlog, Draw, Purse
from meters.models import Installation
from tests import makers
from tests.racing import race

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 12, tzinfo=UTC)
DAY = timedelta(days=1)
HUNG = makers.LONG_AGO


def a_room():
    room = makers.a_room()
    makers.a_meter(room=room)
    return room


def align(room) -> int:
    return draws.align(room_ids=[room.pk], now=NOW)


def drawn(room):
    return [
        (draw.starts_at, draw.ends_at, draw.purse.tenancy_id)
        for draw in Draw.objects.filter(room=room).order_by("starts_at")
    ]


def test_an_empty_room_draws_on_the_propertys_own_purse_and_is_rated_from_when_its_meter_hung():
    room = a_room()

    assert align(room) == 1

    assert drawn(room) == [(HUNG, None, None)]
    assert Draw.objects.get().is_current
    assert Backlog.objects.get().from_at == HUNG
    assert align(room) == 0


def test_tenancies_and_the_gaps_between_them_leave_no_time_out():
    room = a_room()
    first = makers.a_tenancy(room=room, starts_at=HUNG + DAY, ends_at=HUNG + 3 * DAY)
    second = makers.a_tenancy(room=room, starts_at=HUNG + 4 * DAY)

    assert align(room) == 4

    assert drawn(room) == [
        (HUNG, HUNG + DAY, None),
        (HUNG + DAY, HUNG + 3 * DAY, first.pk),
        (HUNG + 3 * DAY, HUNG + 4 * DAY, None),
        (HUNG + 4 * DAY, None, second.pk),
    ]
    assert Purse.objects.filter(tenancy=None).count() == 1


def test_who_lived_there_before_the_meter_hung_draws_from_then_on():
    room = makers.a_room()
    tenancy = makers.a_tenancy(room=room)
    makers.a_meter(room=room)
    Installation.objects.update(starts_at=HUNG + DAY, ends_at=HUNG + 2 * DAY)

    align(room)

    assert drawn(room) == [(HUNG + DAY, HUNG + 2 * DAY, tenancy.pk)]


def test_a_tenancy_that_ends_later_or_earlier_or_never_began_moves_what_is_open():
    room = a_room()
    tenancy = makers.a_tenancy(room=room)
    align(room)
    tenancy.ends_at = HUNG + 5 * DAY
    tenancy.save(update_fields=["ends_at"])

    assert align(room) == 2
    assert drawn(room) == [(HUNG, HUNG + 5 * DAY, tenancy.pk), (HUNG + 5 * DAY, None, None)]

    tenancy.ends_at = HUNG + 7 * DAY
    tenancy.save(update_fields=["ends_at"])
    align(room)
    assert drawn(room) == [(HUNG, HUNG + 7 * DAY, tenancy.pk), (HUNG + 7 * DAY, None, None)]
    assert Draw.objects.filter(is_current=True).count() == 1


def test_what_is_no_longer_plain_goes_the_careful_way_once():
    room = a_room()
    align(room)
    Backlog.objects.all().delete()
    Draw.objects.update(is_plain=True)

    assert draws.refresh(installation_ids=[Installation.objects.get().pk], now=NOW) == 1

    assert not Draw.objects.get().is_plain
    assert Backlog.objects.get().reasons == ["changed"]


@pytest.mark.django_db(transaction=True)
def test_several_who_align_a_room_at_once_make_its_draws_once():
    room = a_room()
    makers.a_tenancy(room=room, starts_at=NOW - DAY)

    answers = race([lambda: align(room)] * 6)

    assert sorted(answers) == [0, 0, 0, 0, 0, 2]
    assert [(draw.starts_at, draw.ends_at) for draw in Draw.objects.order_by("starts_at")] == [
        (HUNG, NOW - DAY),
        (NOW - DAY, None),
    ]
