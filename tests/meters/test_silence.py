"""Meters that do not answer are shown to staff, and taken off the list when they do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from meters import desired, silence, topups
from meters.models import Level, TopUp
from notifications.models import WorkItem
from tests.makers import a_meter

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
