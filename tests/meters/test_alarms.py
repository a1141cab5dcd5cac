"""An alarm at a meter is told to the home behind it, at most once a day and kind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from meters import intake
from meters.models import Meter, MeterEvent
from notifications.models import Message
from tests import makers
from tests.meters.saying import a_report, event, telemetry
from tests.racing import race

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 23, 4, tzinfo=UTC)


def a_home() -> tuple[Meter, int]:
    room = makers.a_room()
    return makers.a_meter(room=room), makers.a_tenancy(room=room).pk


def says(*frames: intake.Frame, now: datetime = NOW) -> intake.Taken:
    return intake.take(frames, now=now)


def test_the_home_is_told_what_happened_when_and_at_which_meter():
    meter, home = a_home()

    says(event(meter, "overload", at=NOW), event(meter, "cover_opened", at=NOW))

    overload, cover = Message.objects.order_by("context__event").reverse()
    assert (overload.kind, overload.tenancy_id, overload.property_id) == ("meter_alarm", home, meter.property_id)
    assert (overload.context["event"], overload.context["meter"]) == ("overload", meter.serial)
    assert (overload.context["alarm"]["en"], cover.context["alarm"]["en"]) == ("overload", "cover opened")
    assert datetime.fromisoformat(overload.context["at"]) == NOW


def test_the_same_again_on_a_day_is_told_once_and_the_next_day_again():
    meter, _home = a_home()

    for hours in (0, 1, 2, 24):
        at = NOW + timedelta(hours=hours)
        says(event(meter, "overload", at=at), now=at)

    assert (Message.objects.count(), MeterEvent.objects.count()) == (2, 4)


def test_what_is_no_alarm_old_or_in_an_empty_room_is_told_to_nobody():
    meter, _home = a_home()
    empty = makers.a_meter(room=makers.a_room())

    says(event(meter, "button_pressed", at=NOW), event(meter, "power_failed", at=NOW))
    says(event(meter, "overload", at=NOW - timedelta(days=2)), event(empty, "overload", at=NOW))

    assert not Message.objects.exists()


def test_what_happened_before_they_moved_in_is_none_of_theirs():
    room = makers.a_room()
    meter = makers.a_meter(room=room)
    makers.a_tenancy(room=room, starts_at=NOW - timedelta(minutes=1))

    says(event(meter, "cover_opened", at=NOW - timedelta(minutes=2)))

    assert not Message.objects.exists()


def test_a_batch_says_whose_relay_has_moved():
    meter, _home = a_home()
    first = says(telemetry(meter, a_report(NOW, relay="closed"), received_at=NOW))
    second = says(telemetry(meter, a_report(NOW + timedelta(seconds=1), relay="open"), received_at=NOW))
    third = says(telemetry(meter, a_report(NOW + timedelta(seconds=2), relay="open"), received_at=NOW))

    assert [taken.switched for taken in (first, second, third)] == [frozenset(), {meter.pk}, frozenset()]


@pytest.mark.django_db(transaction=True)
def test_two_gateways_that_hear_it_at_once_tell_it_once():
    meter, _home = a_home()
    frames = [event(meter, "overload", at=NOW, said="one"), event(meter, "overload", at=NOW, said="two")]

    race([partial(says, frame) for frame in frames * 3])

    assert (Message.objects.count(), MeterEvent.objects.count()) == (1, 2)
