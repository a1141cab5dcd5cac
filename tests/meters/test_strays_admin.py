"""Staff decide about readings whose clock cannot be right, and see what is stored and not rated yet."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from meters import intake
from meters.models import Batch, Reading, StrayReading
from tests import makers
from tests.desk import address, at_work, do, staff_of, told
from tests.meters.saying import a_report, telemetry

pytestmark = pytest.mark.django_db


@pytest.fixture
def stray() -> StrayReading:
    now, meter = timezone.now(), makers.a_meter()
    intake.take([telemetry(meter, a_report(now + timedelta(days=1), import_wh=123_400), received_at=now)], now=now)
    return StrayReading.objects.get()


@pytest.fixture
def manager(stray):
    return at_work(staff_of(stray.property))


def test_a_manager_sees_what_the_clock_said(manager, stray):
    for page in (address(StrayReading, "changelist", state="open"), address(stray, "change")):
        text = manager.get(page).content.decode()

        assert stray.meter.serial in text
        assert "123.400 kWh" in text
        assert f"{timezone.localtime(stray.received_at):%Y-%m-%d %H:%M:%S}" in text
        assert "its clock is ahead" in text


def test_it_is_used_at_the_instant_that_a_manager_names(manager, stray):
    at = timezone.localtime().replace(microsecond=0) - timedelta(hours=1)

    page = do(manager, "use", [stray], at=f"{at:%Y-%m-%dT%H:%M:%S}", reason="the clock was set since")

    stray.refresh_from_db()
    reading = Reading.objects.get(meter=stray.meter)
    assert (reading.read_at, reading.import_wh, reading.source) == (at, 123_400, Reading.Source.STRAY)
    assert (stray.state, stray.note) == ("used", "the clock was set since")
    assert f"It counts as the reading of {at:%Y-%m-%d %H:%M:%S}." in told(page)
    assert "the clock was set since" in LogEntry.objects.get().change_message


def test_the_page_offers_when_it_arrived(manager, stray):
    data = {"action": "use", "_selected_action": [stray.pk]}

    page = manager.post(address(stray, "changelist"), data).content.decode()

    assert f'value="{timezone.localtime(stray.received_at):%Y-%m-%dT%H:%M:%S}"' in page


def test_an_instant_that_is_yet_to_come_is_refused(manager, stray):
    at = timezone.localtime() + timedelta(days=2)

    page = do(manager, "use", [stray], at=f"{at:%Y-%m-%dT%H:%M:%S}", reason="x")

    stray.refresh_from_db()
    assert stray.state == "open"
    assert "No reading can be from that instant." in told(page)


def test_it_is_dropped_once_and_the_reason_is_kept(manager, stray):
    do(manager, "drop", [stray], reason="1970 again")

    page = do(manager, "drop", [stray], reason="and again")

    stray.refresh_from_db()
    assert (stray.state, stray.note) == ("dropped", "1970 again")
    assert "Somebody has decided about this reading already." in told(page)
    assert not Reading.objects.exists()


def test_the_desk_looks_on(stray):
    clerk = at_work(staff_of(stray.property, "service"))

    do(clerk, "drop", [stray], reason="no")

    stray.refresh_from_db()
    assert stray.state == "open"


def test_staff_see_what_of_their_meters_is_not_rated_yet():
    now, mine, theirs = timezone.now(), makers.a_meter(), makers.a_meter()
    for meters in ([mine], [theirs], [mine, theirs]):
        Batch.objects.create(
            stored_at=now, meter_ids=[meter.pk for meter in meters], from_at=[now] * len(meters), readings=len(meters),
            first_at=now, last_at=now,
        )  # fmt: skip

    listed = at_work(staff_of(mine.property)).get(address(Batch, "changelist")).context["cl"].result_list

    assert sorted(batch.meter_ids for batch in listed) == sorted([[mine.pk], [mine.pk, theirs.pk]])
