"""Months of readings are there before the readings are."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from meters import partitions
from meters.models import Reading
from tests.makers import a_meter
from tests.meters.at_once import at_once

NOVEMBER = datetime(2031, 11, 20, 4, tzinfo=UTC)


@pytest.fixture
def months_are_taken_back():
    yield
    with connection.cursor() as cursor:
        for year, month in ((2031, 10), (2031, 11), (2031, 12), (2032, 1), (2032, 2)):
            cursor.execute(f"drop table if exists meters_reading_{year}_{month:02}")


def a_reading(read_at: datetime) -> Reading:
    meter = a_meter()
    return Reading.objects.create(
        meter=meter, property=meter.property, read_at=read_at, received_at=read_at, import_wh=1, relay="closed"
    )


def table_of(reading: Reading):
    with connection.cursor() as cursor:
        cursor.execute("select tableoid::regclass::text from meters_reading where meter_id = %s", [reading.meter_id])
        return cursor.fetchone()[0]


@pytest.mark.django_db
def test_months_begin_at_midnight_in_shanghai():
    last_of_november = datetime(2031, 11, 30, 15, 59, 59, tzinfo=UTC)

    assert partitions.month(last_of_november).isoformat() == "2031-11-01T00:00:00+08:00"
    assert partitions.month(last_of_november + timedelta(seconds=1)).isoformat() == "2031-12-01T00:00:00+08:00"
    assert partitions.month(NOVEMBER, 2).isoformat() == "2032-01-01T00:00:00+08:00"


@pytest.mark.django_db
def test_this_month_and_the_next_three_are_made_once():
    made = partitions.make_months(now=NOVEMBER)

    assert made == [f"meters_reading_{name}" for name in ("2031_11", "2031_12", "2032_01", "2032_02")]
    assert partitions.make_months(now=NOVEMBER) == []


@pytest.mark.django_db
def test_a_reading_goes_into_the_month_that_shanghai_has():
    partitions.make_months(now=NOVEMBER)

    assert table_of(a_reading(datetime(2031, 11, 30, 15, 59, tzinfo=UTC))) == "meters_reading_2031_11"
    assert table_of(a_reading(datetime(2031, 11, 30, 16, 0, tzinfo=UTC))) == "meters_reading_2031_12"


@pytest.mark.django_db
def test_a_month_whose_readings_lie_in_the_default_partition_is_made_and_takes_them_over():
    early, far_off = a_reading(NOVEMBER), a_reading(datetime(2099, 1, 1, tzinfo=UTC))
    assert table_of(early) == "meters_reading_default"

    partitions.make_months(now=NOVEMBER, ahead=0)

    assert table_of(early) == "meters_reading_2031_11"
    assert table_of(far_off) == "meters_reading_default"
    assert Reading.objects.count() == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("months_are_taken_back")
def test_two_gateways_make_the_months_at_once_and_each_month_is_made_by_one():
    made = at_once(4, lambda: partitions.make_months(now=NOVEMBER, ahead=1))

    assert sorted(itertools.chain.from_iterable(made)) == ["meters_reading_2031_11", "meters_reading_2031_12"]


def partitions_there():
    with connection.cursor() as cursor:
        cursor.execute("select inhrelid::regclass::text from pg_inherits where inhparent = 'meters_reading'::regclass")
        return {name for (name,) in cursor.fetchall()}


def two_years_on(guard, *, kept: int = 25) -> list[str]:
    return partitions.drop_months(now=datetime(2034, 1, 10, tzinfo=UTC), kept=kept, may_drop=guard)


@pytest.mark.django_db
def test_months_that_are_old_enough_are_dropped_with_what_of_them_lies_in_the_default_partition():
    scattered = a_reading(datetime(2031, 10, 31, 15, 59, tzinfo=UTC))
    partitions.make_months(now=NOVEMBER, ahead=1)
    old, young = a_reading(NOVEMBER), a_reading(datetime(2031, 11, 30, 16, tzinfo=UTC))
    asked = []

    dropped = two_years_on(lambda start, end: asked.append((start.isoformat(), end.isoformat())) or True)

    assert dropped == ["meters_reading_2031_10", "meters_reading_2031_11"]
    assert asked[1] == ("2031-11-01T00:00:00+08:00", "2031-12-01T00:00:00+08:00")
    kept = set(Reading.objects.values_list("meter_id", flat=True))
    assert young.meter_id in kept
    assert not kept & {scattered.meter_id, old.meter_id}
    assert "meters_reading_2031_12" in partitions_there()
    assert two_years_on(lambda *_: True) == []


@pytest.mark.django_db
def test_a_month_on_which_something_depends_stays_and_the_others_go():
    partitions.make_months(now=NOVEMBER, ahead=1)
    reading = a_reading(NOVEMBER)

    dropped = two_years_on(lambda start, _end: start.month != 11, kept=24)

    assert dropped == ["meters_reading_2031_12"]
    assert Reading.objects.filter(meter=reading.meter_id).exists()


@pytest.mark.django_db
def test_this_month_and_the_last_are_never_dropped():
    with pytest.raises(ValueError, match="still being charged"):
        partitions.drop_months(now=NOVEMBER, kept=0, may_drop=lambda *_: True)
