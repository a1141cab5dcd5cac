"""Readings are stored once, whole batches or nothing, with the mark that they are still to be rated."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from meters import held, intake, partitions, reports, staging
from meters.models import Batch, Meter, Reading
from tests.makers import a_meter
from tests.meters.at_once import at_once_each
from tests.meters.saying import a_report, telemetry

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 1, 4, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def says(meter: Meter, *ats: datetime, **fields):
    return telemetry(meter, *[a_report(at, **fields) for at in ats], received_at=NOW)


def take(*frames, now: datetime = NOW) -> intake.Taken:
    return intake.take(frames, now=now)


def marked() -> dict[int, datetime]:
    """By meter, from when on it is to be rated."""
    (batch,) = Batch.objects.all()
    return dict(zip(batch.meter_ids, batch.from_at, strict=True))


def test_a_batch_leaves_one_mark_that_names_its_meters_and_the_earliest_news_of_each():
    one, two = a_meter(), a_meter()

    taken = take(says(one, NOW - MINUTE, NOW - 3 * MINUTE), says(two, NOW), says(one, NOW - 2 * MINUTE))

    batch = Batch.objects.get()
    assert marked() == {one.pk: NOW - 3 * MINUTE, two.pk: NOW}
    assert (batch.pk, batch.readings, batch.stored_at) == (taken.batch_id, 4, NOW)
    assert (batch.first_at, batch.last_at) == (NOW - 3 * MINUTE, NOW)
    assert set(Reading.objects.values_list("received_at", flat=True)) == {NOW}


def test_doubles_within_a_batch_are_stored_once():
    meter = a_meter()

    taken = take(says(meter, NOW, NOW), says(meter, NOW))

    assert (taken.readings, taken.doubles, Reading.objects.count()) == (1, 2, 1)


def test_doubles_of_an_earlier_batch_are_no_news_and_leave_no_mark():
    meter, other = a_meter(), a_meter()
    take(says(meter, NOW), says(other, NOW))
    Batch.objects.all().delete()

    again = take(says(meter, NOW))
    assert (again.readings, again.doubles, again.batch_id, Batch.objects.count()) == (0, 1, None, 0)

    take(says(meter, NOW, NOW + MINUTE), says(other, NOW))
    assert marked() == {meter.pk: NOW + MINUTE}


def test_of_two_readings_of_one_millisecond_the_first_is_kept():
    meter = a_meter()
    at = NOW + timedelta(microseconds=1900)

    take(says(meter, at, import_wh=5))
    again = take(says(meter, NOW + timedelta(microseconds=1100), import_wh=6))

    reading = Reading.objects.get()
    assert (reading.read_at, reading.import_wh) == (NOW + timedelta(milliseconds=1), 5)
    assert again.doubles == 1


def test_all_that_a_report_says_of_energy_and_money_is_in_the_reading():
    meter = a_meter(held_by="meter")
    said = {"power_w": 60, "balance_fen": -7, "purchase_count": 4, "relay": "open", "order": "auto"}

    take(says(meter, NOW, import_wh=10**15, period_wh={"sharp": 1, "deep_valley": 5}, **said))

    reading = Reading.objects.get()
    assert (reading.import_wh, reading.power_w, reading.balance_fen, reading.relay) == (10**15, 60, -7, "open")
    assert (reading.period_wh, reading.purchase_count, reading.source) == ([1, 0, 0, 0, 5], 4, Reading.Source.METER)


def test_a_transaction_may_store_twice():
    meter = a_meter()

    with transaction.atomic():
        take(says(meter, NOW))
        second = take(says(meter, NOW + MINUTE))

    assert (second.readings, second.doubles, Batch.objects.count()) == (1, 0, 2)


def test_a_batch_without_reports_touches_no_stage():
    with CaptureQueriesContext(connection) as queries:
        take()

    assert not [query for query in queries if "stage" in query["sql"]]


@pytest.mark.django_db(transaction=True)
def test_what_is_rolled_back_leaves_neither_readings_nor_a_mark_nor_a_full_stage():
    meter = a_meter()

    with transaction.atomic():
        take(says(meter, NOW))
        transaction.set_rollback(True)

    assert not Batch.objects.exists()
    assert not Reading.objects.exists()

    take(says(meter, NOW + MINUTE))
    assert list(Reading.objects.values_list("read_at", flat=True)) == [NOW + MINUTE]


@pytest.mark.django_db(transaction=True)
def test_gateways_that_hear_the_same_mark_each_reading_once():
    meters = [a_meter() for _ in range(20)]

    def hear(order: list[Meter]) -> int:
        return sum(
            take(*[says(meter, NOW + second * MINUTE) for meter in order], now=NOW + second * MINUTE).readings
            for second in range(8)
        )

    stored = at_once_each(*[lambda: hear(meters), lambda: hear(meters[::-1])] * 2)

    assert (sum(stored), Reading.objects.count()) == (160, 160)
    assert sum(Batch.objects.values_list("readings", flat=True)) == 160


def months_locked() -> set[str]:
    """The partitions that the present transaction has touched in any way."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select relation::regclass::text from pg_locks where pid = pg_backend_pid() and relation in"
            " (select inhrelid from pg_inherits where inhparent = 'meters_reading'::regclass)"
        )
        return {name for (name,) in cursor.fetchall()}


@pytest.mark.django_db(transaction=True)
def test_a_batch_touches_the_month_of_its_readings_and_no_other():
    """Looked at by locks: the plan of an insert does not say into which partitions it goes."""
    partitions.make_months(now=NOW)
    meter = a_meter()
    take(says(meter, NOW))  # plans and catalogue are warm

    with transaction.atomic():
        take(says(meter, NOW, NOW + MINUTE))
        assert months_locked() == {"meters_reading_2026_11"}

    for number in range(4):
        name = f"meters_reading_{partitions.month(NOW, number):%Y_%m}"
        with connection.cursor() as cursor:
            cursor.execute(f"drop table {name}")


@pytest.mark.parametrize("known", ["all", "as they were when empty", "nothing", "meters are few", "meters are many"])
def test_no_plan_of_the_intake_visits_a_month_or_all_meters(known: str):
    """Grown tables and grown batches, whatever statistics say of them: nothing is looked for by reading everything."""
    meter = a_meter()
    with connection.cursor() as cursor:
        cursor.execute("analyze accounts_property, meters_metermodel, meters_meter, meters_level")
        cursor.execute(
            "insert into meters_meter (property_id, model_id, serial, is_online, relay, relay_order, relay_generation)"
            " select property_id, model_id, 'x' || n, true, '', '', 0 from meters_meter, generate_series(1, 20000) n"
        )
        cursor.execute(
            "insert into meters_level"
            " (meter_id, kind, wanted, reason, wanted_at, trace, generation, reported, tries, next_try_at)"
            " select id, 'relay', 'closed', '', now(), '', 1, 'closed', 0, now() from meters_meter"
        )
        for statement in STATISTICS[known]:
            cursor.execute(statement)
    take(says(meter, NOW))

    asked = held._asked({"y": meter.property_id}, [("y", f"x{number}") for number in range(100)])
    assert asked
    seen = [
        plan(held._HOLD, [[1], *asked]),
        plan(held._WRITE, None, settings=held._HASHED),
        plan(staging._STORE, {"now": NOW}),
        plan(reports._DISAGREEING, [1000]),
        plan(reports._DISAGREEING_OF, [list(range(100))]),
    ]

    assert "Index Cond: ((property_id = a.property_id) AND ((serial)::text = a.serial))" in seen[0]
    assert [len(re.findall("Index Cond: .*id = ANY", one)) for one in seen[:2]] == [1, 1]
    assert "Hash Join" in seen[1]
    assert not re.search(" Join|Nested Loop", seen[0])
    assert "levels_in_disagreement" in seen[3]
    assert not [one for one in seen if re.search(r"meters_reading_\w+|Seq Scan on meters_(meter|level)", one)], seen


_TOLD = (
    "select pg_restore_relation_stats('schemaname', 'public', 'relname', '{}', 'relpages', {}, 'reltuples', {}::real)"
)
STATISTICS = {
    "all": ["analyze meters_meter, meters_level"],
    "as they were when empty": [],
    "nothing": [
        f"select pg_clear_relation_stats('public', '{table}')" for table in ("meters_meter", "accounts_property")
    ],
    "meters are few": [
        _TOLD.format("meters_meter", 10_000, 1),
        _TOLD.format("accounts_property", 1, 100_000),
        _TOLD.format("meters_metermodel", 1, 100_000),
    ],
    "meters are many": [_TOLD.format("meters_meter", 1, 10_000_000), _TOLD.format("accounts_property", 10_000, 1)],
}


def plan(statement: str, parameters, *, settings: str = "") -> str:
    with transaction.atomic(), connection.cursor() as cursor:
        if settings:
            cursor.execute(settings)
        cursor.execute(f"explain {statement}", parameters)
        return "\n".join(line for (line,) in cursor.fetchall())
