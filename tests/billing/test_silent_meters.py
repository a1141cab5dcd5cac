"""Meters that were not heard for long are one work item a property, and a message a day, until they are heard again."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

import pytest

from accounts.models import Property
from billing import silent_meters
from meters.models import Installation, Meter
from notifications.models import Message, WorkItem
from tests import makers
from tests.billing.spent import NOON
from tests.racing import race

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture
def place() -> Property:
    return makers.a_property()


def a_meter(place: Property, *, heard_at: datetime | None) -> Meter:
    return makers.a_meter(room=makers.a_room(place=place), last_seen_at=heard_at)


def test_it_says_how_many_and_which_and_for_how_long(place):
    first = a_meter(place, heard_at=NOON - 9 * HOUR)
    second = a_meter(place, heard_at=NOON - 7 * HOUR)
    a_meter(place, heard_at=NOON - 5 * HOUR)

    assert silent_meters.look(now=NOON) == 1

    item, message = WorkItem.objects.get(), Message.objects.get()
    assert (item.kind, item.property, item.detail["silent"]) == ("meters_silent", place, 2)
    assert item.detail["meters"] == f"{first.serial}, {second.serial}"
    assert (message.kind, message.tenancy_id, message.property_id) == ("meters_silent", None, place.pk)
    assert (message.context["count"], message.context["hours"]) == (2, 6)


def test_the_limit_is_the_propertys_own(place):
    makers.a_policy(place, silent_hours=12)
    a_meter(place, heard_at=NOON - 9 * HOUR)

    assert silent_meters.look(now=NOON) == 0


def test_one_that_never_told_anything_is_silent_since_it_was_hung(place):
    meter = a_meter(place, heard_at=None)
    assert silent_meters.look(now=NOON) == 1

    Installation.objects.filter(meter=meter).update(starts_at=NOON - HOUR)
    silent_meters.look(now=NOON)

    assert not WorkItem.objects.filter(state="open").exists()


def test_one_that_hangs_no_more_is_nobodys_trouble(place):
    meter = a_meter(place, heard_at=NOON - 9 * HOUR)
    Installation.objects.filter(meter=meter).update(ends_at=NOON)

    assert silent_meters.look(now=NOON) == 0


def test_it_is_told_once_a_day_and_counted_only_when_something_is_new(place):
    a_meter(place, heard_at=NOON - 9 * HOUR)
    for hours in (0, 1, 2, 24):
        silent_meters.look(now=NOON + hours * HOUR)

    assert (WorkItem.objects.get().times, Message.objects.count()) == (1, 2)
    a_meter(place, heard_at=NOON - 8 * HOUR)
    silent_meters.look(now=NOON + 25 * HOUR)
    assert (WorkItem.objects.get().times, Message.objects.count()) == (2, 2)


def test_what_is_heard_again_is_settled_and_its_message_taken_back(place):
    meter = a_meter(place, heard_at=NOON - 9 * HOUR)
    silent_meters.look(now=NOON)
    Meter.objects.filter(pk=meter.pk).update(last_seen_at=NOON)

    assert silent_meters.look(now=NOON + HOUR) == 0

    assert (WorkItem.objects.get().state, Message.objects.get().state) == ("resolved", "withdrawn")


@pytest.mark.django_db(transaction=True)
def test_rounds_at_once_list_and_tell_it_once(place):
    a_meter(place, heard_at=NOON - 9 * HOUR)

    race([partial(silent_meters.look, now=NOON)] * 4)

    assert (WorkItem.objects.count(), Message.objects.count()) == (1, 1)
