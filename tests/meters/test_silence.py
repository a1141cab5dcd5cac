"""Meters that do not answer are shown to staff, and taken off the list when they do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from accounts.models import Tenancy
from meters import desired, silence, topups
from meters.models import Installation, Level, TopUp
from notifications.models import WorkItem
from tests.makers import a_meter, a_room, a_tenancy

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 1, 4, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def open_keys() -> list[str]:
    return sorted(WorkItem.objects.filter(state="open").values_list("key", flat=True))


def a_meter_in_default(*, since: datetime = NOW):
    meter = a_meter(is_online=True)
    desired.want(meter_id=meter.pk, kind="relay", wanted="closed", reason="paid", trace="t1", now=since)
    return meter


def test_a_meter_that_does_not_do_what_is_wanted_is_shown_after_the_limit_once():
    meter = a_meter_in_default()

    assert silence.look(now=NOW + 9 * MINUTE) == 0
    assert silence.look(now=NOW + 10 * MINUTE) == 1
    assert silence.look(now=NOW + 11 * MINUTE) == 0

    item = WorkItem.objects.get()
    assert (item.key, item.kind, item.trace) == (f"silent:{meter.pk}:relay", "meter_does_not_answer", "t1")
    assert (item.detail["wanted"], item.detail["meter"]) == ("closed", meter.serial)


def test_it_is_taken_off_when_the_meter_does():
    meter = a_meter_in_default()
    silence.look(now=NOW + 10 * MINUTE)
    Level.objects.filter(meter=meter).update(reported="closed")

    silence.look(now=NOW + 11 * MINUTE)

    assert open_keys() == []
    assert WorkItem.objects.get().resolution


def test_a_newer_wish_is_no_answer():
    meter = a_meter_in_default()
    silence.look(now=NOW + 10 * MINUTE)
    desired.want(meter_id=meter.pk, kind="relay", wanted="open", reason="", trace="", now=NOW + 11 * MINUTE)

    silence.look(now=NOW + 12 * MINUTE)

    assert open_keys() == [f"silent:{meter.pk}:relay"]


def test_top_ups_on_their_way_for_long_are_one_item_a_meter_until_all_are_in():
    meter = a_meter(held_by="meter")
    for key in ("a", "b"):
        topups.queue(key=key, meter_id=meter.pk, amount_fen=100, trace=key, now=NOW)

    assert silence.look(now=NOW + 10 * MINUTE) == 1
    assert WorkItem.objects.get().trace == "a"
    TopUp.objects.filter(key="a").update(state="landed", number=1)
    silence.look(now=NOW + 11 * MINUTE)
    assert open_keys() == [f"silent:{meter.pk}:top_up"]
    TopUp.objects.update(state="cancelled")
    silence.look(now=NOW + 12 * MINUTE)

    assert open_keys() == []


def a_top_up_of_a_tenancy():
    room = a_room()
    meter, tenancy = a_meter(held_by="meter", room=room, is_online=True), a_tenancy(room=room)
    topups.queue(key="paid", meter_id=meter.pk, tenancy_id=tenancy.pk, amount_fen=100, trace="t1", now=NOW)
    return TopUp.objects.get()


def the_tenancy_ends(top_up: TopUp) -> None:
    Tenancy.objects.filter(top_ups=top_up).update(ends_at=NOW + MINUTE)


def the_meter_is_taken_down(top_up: TopUp) -> None:
    Installation.objects.filter(meter=top_up.meter).update(ends_at=NOW + MINUTE)


def the_meter_hangs_elsewhere(top_up: TopUp) -> None:
    the_meter_is_taken_down(top_up)
    hang(top_up.meter, a_room(place=top_up.property))


def hang(meter, room) -> None:
    Installation.objects.create(property=room.property, room=room, meter=meter, starts_at=NOW + 2 * MINUTE)


@pytest.mark.parametrize(
    ("happens", "why"),
    [
        (the_tenancy_ends, "tenancy_ended"),
        (the_meter_is_taken_down, "meter_taken_down"),
        (the_meter_hangs_elsewhere, "meter_taken_down"),
    ],
)
def test_a_top_up_that_waits_for_nobody_is_shown_with_its_reason_until_it_is_called_back(happens, why):
    top_up = a_top_up_of_a_tenancy()
    happens(top_up)

    assert silence.look(now=NOW + 10 * MINUTE) == 0
    assert silence.look(now=NOW + 11 * MINUTE) == 1
    assert silence.look(now=NOW + 12 * MINUTE) == 0

    item = WorkItem.objects.get()
    assert (item.key, item.kind, item.trace) == (f"for_nobody:{top_up.pk}", "top_up_waits_for_nobody", "t1")
    assert (item.detail["why"], item.detail["amount_fen"], item.detail["meter"]) == (why, 100, top_up.meter.serial)
    topups.cancel(top_up_id=top_up.pk, now=NOW + 13 * MINUTE)
    silence.look(now=NOW + 13 * MINUTE)
    assert open_keys() == []


def test_a_top_up_whose_meter_hangs_there_again_waits_for_the_meter_alone():
    top_up = a_top_up_of_a_tenancy()
    the_meter_is_taken_down(top_up)
    silence.look(now=NOW + 11 * MINUTE)
    assert open_keys() == [f"for_nobody:{top_up.pk}"]

    hang(top_up.meter, top_up.tenancy.room)
    silence.look(now=NOW + 12 * MINUTE)

    assert open_keys() == [f"silent:{top_up.meter_id}:top_up"]


def test_a_meter_is_not_called_silent_for_a_top_up_that_may_not_go():
    top_up = a_top_up_of_a_tenancy()
    silence.look(now=NOW + 10 * MINUTE)
    assert open_keys() == [f"silent:{top_up.meter_id}:top_up"]
    the_tenancy_ends(top_up)

    silence.look(now=NOW + 11 * MINUTE)

    assert open_keys() == [f"for_nobody:{top_up.pk}"]
