"""Readings whose clock cannot be right: apart, on the list, and a person's to decide about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from meters import intake, strays
from meters.models import Batch, Meter, Reading, StrayReading
from meters.strays import StrayRefusedError
from notifications.models import WorkItem
from tests.makers import a_meter, a_user
from tests.meters.saying import a_report, telemetry
from tests.racing import race

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 1, 4, tzinfo=UTC)
DAY = timedelta(days=1)


def says(meter: Meter, *ats: datetime, now: datetime = NOW, **fields) -> intake.Taken:
    return intake.take([telemetry(meter, *[a_report(at, **fields) for at in ats], received_at=now)], now=now)


def a_stray(meter: Meter | None = None, **fields) -> StrayReading:
    meter = meter or a_meter()
    says(meter, NOW + DAY, **fields)
    return StrayReading.objects.get(meter=meter)


def item_of(meter_id: int) -> WorkItem:
    return WorkItem.objects.get(key=f"clock:{meter_id}")


@pytest.mark.parametrize(
    ("at", "reason"),
    [(NOW + DAY, "ahead"), (datetime(1970, 1, 1, tzinfo=UTC), "long_past"), (NOW - 401 * DAY, "long_past")],
)
def test_a_reading_whose_clock_cannot_be_right_is_kept_apart_and_put_before_a_person(at, reason):
    meter = a_meter()

    taken = says(meter, at, import_wh=77, period_wh={"peak": 7}, balance_fen=5)

    stray, item = StrayReading.objects.get(meter=meter), item_of(meter.pk)
    assert (taken.readings, taken.strays, taken.batch_id) == (0, 1, None)
    assert (stray.reason, stray.read_at, stray.received_at, stray.import_wh) == (reason, at, NOW, 77)
    assert (stray.period_wh, stray.balance_fen, stray.state) == ([0, 7, 0, 0, 0], 5, "open")
    assert (item.kind, item.detail["meter"], item.detail["why"]) == ("clock_is_off", meter.serial, reason)
    assert not Reading.objects.exists()
    assert not Batch.objects.exists()


def test_the_good_readings_beside_it_are_stored_as_if_it_were_not_there():
    meter, other = a_meter(), a_meter()
    frames = [
        telemetry(meter, a_report(NOW + DAY), a_report(NOW), received_at=NOW),
        telemetry(other, a_report(NOW), received_at=NOW),
    ]

    taken = intake.take(frames, now=NOW)

    assert (taken.readings, taken.strays, taken.read_meter_ids) == (2, 1, {meter.pk, other.pk})


def test_one_that_comes_again_is_kept_once_and_does_not_come_back_when_it_was_decided():
    meter, clerk = a_meter(), a_user()
    says(meter, NOW + DAY)
    assert says(meter, NOW + DAY).strays == 0
    strays.drop(stray_id=StrayReading.objects.get().pk, by=clerk, note="", now=NOW)

    says(meter, NOW + DAY)

    assert StrayReading.objects.get().state == "dropped"
    assert item_of(meter.pk).state == "resolved"


def test_one_that_is_used_becomes_a_reading_of_the_instant_that_was_named_and_is_to_be_rated():
    stray, clerk = a_stray(import_wh=123, period_wh={"flat": 123}), a_user()
    at = NOW - timedelta(hours=1, microseconds=1)

    reading = strays.use(stray_id=stray.pk, at=at, by=clerk, note="by the log of its box", now=NOW)

    batch = Batch.objects.get()
    stray.refresh_from_db()
    assert (reading.read_at, reading.import_wh, reading.source) == (NOW - timedelta(hours=1, milliseconds=1), 123, 2)
    assert (reading.period_wh, reading.received_at) == ([0, 0, 123, 0, 0], NOW)
    assert (batch.meter_ids, batch.from_at, batch.readings) == ([stray.meter_id], [reading.read_at], 1)
    assert (stray.state, stray.decided_by, stray.decided_at, stray.note) == (
        "used",
        clerk,
        NOW,
        "by the log of its box",
    )
    assert item_of(stray.meter_id).state == "resolved"


def test_a_meters_item_stays_until_all_its_strays_are_decided_about():
    meter, clerk = a_meter(), a_user()
    says(meter, NOW + DAY, NOW + 2 * DAY)
    first, second = StrayReading.objects.order_by("read_at")

    strays.drop(stray_id=first.pk, by=clerk, note="", now=NOW)
    assert item_of(meter.pk).state == "open"

    strays.drop(stray_id=second.pk, by=clerk, note="", now=NOW)
    assert item_of(meter.pk).state == "resolved"


@pytest.mark.parametrize("at", [NOW + timedelta(seconds=1), NOW - 401 * DAY])
def test_it_cannot_be_used_at_an_instant_that_is_no_better(at):
    stray = a_stray()

    with pytest.raises(StrayRefusedError):
        strays.use(stray_id=stray.pk, at=at, by=a_user(), note="", now=NOW)

    stray.refresh_from_db()
    assert stray.state == "open"


def test_it_never_takes_the_place_of_another_reading():
    meter = a_meter()
    says(meter, NOW, import_wh=5)
    stray = a_stray(meter, import_wh=9)

    with pytest.raises(StrayRefusedError):
        strays.use(stray_id=stray.pk, at=NOW, by=a_user(), note="", now=NOW)

    stray.refresh_from_db()
    assert (stray.state, Reading.objects.get().import_wh) == ("open", 5)


def test_what_is_decided_is_decided():
    stray, clerk = a_stray(), a_user()
    strays.drop(stray_id=stray.pk, by=clerk, note="a test", now=NOW)

    with pytest.raises(StrayRefusedError):
        strays.use(stray_id=stray.pk, at=NOW, by=clerk, note="", now=NOW)

    assert not Reading.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_two_clerks_decide_at_once_and_one_of_them_does():
    stray, clerk = a_stray(), a_user()

    answers = race(
        [
            lambda: strays.drop(stray_id=stray.pk, by=clerk, note="", now=NOW),
            lambda: strays.use(stray_id=stray.pk, at=NOW, by=clerk, note="", now=NOW),
            lambda: strays.use(stray_id=stray.pk, at=NOW - DAY, by=clerk, note="", now=NOW),
        ]
    )

    stray.refresh_from_db()
    assert sum(isinstance(answer, StrayRefusedError) for answer in answers) == 2
    assert Reading.objects.count() == (stray.state == "used")
