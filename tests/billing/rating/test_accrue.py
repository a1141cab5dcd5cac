"""The statement that rates thousands of readings at once, held against a walk watt-hour by watt-hour and the engine."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from billing.models import Backlog, Draw, PriceSlot, Review
from billing.rating import accrue
from billing.tariff import parse
from billing.tariff.civil import CIVIL, civil_date
from billing.tariff.price import charge
from billing.tariff.split import Term, split
from meters.models import Batch, Installation, Reading
from tests.billing.rating import world
from tests.billing.rating.world import HOUR, NOW, ONE_PRICE, PERIODS_AND_TIERS, QUARTER, START

pytestmark = pytest.mark.django_db


def rate(*, now: datetime = NOW) -> accrue.Accrued:
    return accrue.accrue(now=now)


def only(draw: Draw) -> Backlog:
    backlog = Backlog.objects.get()
    assert backlog.installation_id == draw.installation_id
    return backlog


def engine(draw: Draw, readings, *, cycle_wh: int = 0) -> tuple[int, int]:
    """(nano-fen, energy of the cycle) of readings that follow START, by the pure engine."""
    assert draw.version
    tariff = parse.tariff(draw.version.definition)
    terms = [Term(datetime(2026, 1, 1, tzinfo=CIVIL), draw.version.pk, tariff)]
    used_wh: Mapping[Any, int] = {draw.cycle_date: cycle_wh} if draw.cycle_date else {}
    nano, at, wh = 0, draw.starts_at, 100_000
    for read_at, import_wh in readings:
        energy_wh = (import_wh - wh) * draw.ct_ratio
        cut = split(from_at=at, to_at=read_at, energy_wh=energy_wh, terms=terms, special_days={})
        charged = charge(tariff=tariff, slices=cut.slices, used_wh=used_wh)
        nano += sum(line.total_nano_fen for line in charged.lines)
        used_wh, at, wh = charged.used_wh, read_at, import_wh
    return nano, used_wh.get(draw.cycle_date, 0)


def walked(draw: Draw, readings, *, cycle_wh: int) -> int:
    """Nano-fen by walking: each watt-hour lies in the period and tier in which it was used."""
    nano, at, wh = 0, START, 100_000
    for read_at, import_wh in readings:
        energy_wh, ms = import_wh - wh, (read_at - at) // timedelta(milliseconds=1)
        edges = [at]
        while edges[-1] < read_at:
            local = edges[-1].astimezone(CIVIL)
            half = local.replace(minute=local.minute // 30 * 30, second=0, microsecond=0) + timedelta(minutes=30)
            edges.append(min(half, read_at))
        done = 0
        for start, end in itertools.pairwise(edges):
            up_to = energy_wh * ((end - at) // timedelta(milliseconds=1)) // ms
            local = start.astimezone(CIVIL)
            is_peak = (8, 30) <= (local.hour, local.minute) < (22, 0)
            for _ in range(up_to - done):
                tier = 0 if cycle_wh < 2_880_000 else 1 if cycle_wh < 4_800_000 else 2
                nano += (56_800_001 if is_peak else 28_800_003) + (0, 5_000_000, 30_000_000)[tier] + 3_000_000
                cycle_wh += 1
            done = up_to
        at, wh = read_at, import_wh
    return nano


def test_a_reading_advances_its_draw_and_the_batch_is_gone():
    draw = world.a_draw()
    world.tell([(draw.meter, START + QUARTER, 100_400)])

    assert rate() == accrue.Accrued(done=1, left_over=0, looked=0, batches=1)

    draw.refresh_from_db()
    assert (draw.last_at, draw.last_wh) == (START + QUARTER, 100_400)
    assert (draw.total_nano, draw.day_nano, draw.day_wh) == (400 * 50_000_000, 400 * 50_000_000, 400)
    assert not Batch.objects.exists()
    assert not Backlog.objects.exists()
    assert rate() == accrue.Accrued()


def test_the_day_counts_from_midnight():
    draw = world.a_draw(starts_at=START)
    world.tell([(draw.meter, START + 23 * HOUR, 102_300), (draw.meter, START + 25 * HOUR, 102_500)])

    rate()

    draw.refresh_from_db()
    assert (draw.day_date, draw.day_wh, draw.day_nano) == (civil_date(NOW - HOUR), 100, 100 * 50_000_000)
    assert draw.total_nano == 2_500 * 50_000_000


def test_many_random_readings_cost_what_walking_each_watt_hour_and_the_engine_say():
    dice = random.Random(7)
    version = world.a_version(PERIODS_AND_TIERS)
    before = [0, 2_879_000, 4_799_500, 2_879_999]
    draws = [world.a_draw(version, cycle_wh=before[n % 4]) for n in range(24)]
    history: dict[int, list[tuple[datetime, int]]] = {draw.pk: [] for draw in draws}
    at = dict.fromkeys(history, START)
    wh = dict.fromkeys(history, 100_000)
    for nth in range(6):
        told = []
        for draw in dice.sample(draws, 20):
            for _ in range(dice.choice([1, 1, 3])):
                gone = timedelta(milliseconds=dice.randint(60_000, dice.choice([900_000, 20_000_000])))
                at[draw.pk] += gone
                wh[draw.pk] += dice.randint(0, int(gone / HOUR * 1_500) + 1)
                told.append((draw.meter, at[draw.pk], wh[draw.pk]))
                history[draw.pk].append((at[draw.pk], wh[draw.pk]))
        world.tell(told, stored_at=NOW + nth * QUARTER)

        assert rate(now=NOW + nth * QUARTER).done == 20

    assert not Backlog.objects.exists()
    for nth, draw in enumerate(draws):
        draw.refresh_from_db()
        cycle_wh = before[nth % 4]
        assert draw.total_nano == walked(draw, history[draw.pk], cycle_wh=cycle_wh)
        assert (draw.total_nano, draw.cycle_wh) == engine(draw, history[draw.pk], cycle_wh=cycle_wh)
        assert (draw.last_at, draw.last_wh) == (at[draw.pk], wh[draw.pk])


def test_an_extension_and_the_ratio_of_the_transformer_count():
    draw = world.a_draw(world.a_version(PERIODS_AND_TIERS), cycle_wh=2_880_000, ct_ratio=10, extra_wh=[1_000, 1_000])
    world.tell([(draw.meter, START + HOUR, 100_150)])

    rate()

    draw.refresh_from_db()
    assert draw.total_nano == 1_000 * 31_800_003 + 500 * 36_800_003
    assert draw.cycle_wh == 2_881_500


def test_energy_that_no_cycle_counts_is_of_the_first_tier_and_counts_nowhere():
    definition = PERIODS_AND_TIERS | {
        "tiers": {"cycle": {"months": 12, "season": ["05-01", "10-31"]}, "limits": [{"kwh": [1, 2]}]}
    }
    draw = world.a_draw(world.a_version(definition))
    assert draw.cycle_date is None
    world.tell([(draw.meter, START + 2 * HOUR, 105_000)])

    rate()

    draw.refresh_from_db()
    assert (draw.total_nano, draw.cycle_wh) == (5_000 * 31_800_003, 0)


@pytest.mark.parametrize(
    ("register_wh", "why"),
    [(99_999, "a register that fell"), (200_000, "more than the breaker lets through"), (10**15, "a wild register")],
)
def test_what_cannot_follow_is_left_to_be_looked_at_and_charged_to_nobody(register_wh, why):
    draw = world.a_draw(ct_ratio=10_000)
    world.tell([(draw.meter, START + QUARTER, register_wh), (draw.meter, START + 2 * QUARTER, register_wh + 1)])

    assert rate() == accrue.Accrued(done=0, left_over=1, looked=0, batches=1), why

    draw.refresh_from_db()
    assert (draw.total_nano, draw.last_at) == (0, START)
    assert (only(draw).reasons, only(draw).from_at) == (["unusual"], START + QUARTER)


def test_a_late_reading_is_left_and_the_earliest_instant_is_kept():
    draw = world.a_draw()
    world.tell([(draw.meter, START + 3 * QUARTER, 100_900)])
    rate()
    for quarters in (2, 1):
        world.tell([(draw.meter, START + quarters * QUARTER, 100_000 + 300 * quarters)])
        rate()

    left = only(draw)

    assert (left.reasons, left.from_at, left.bumps) == (["late"], START + QUARTER, 2)
    draw.refresh_from_db()
    assert draw.total_nano == 900 * 50_000_000


@pytest.mark.parametrize(
    "more",
    [
        {"is_plain": False},
        {"version": None},
        {"plain_until_at": START + QUARTER},
        {"cycle_date": civil_date(START)},
        {"last_at": START + timedelta(microseconds=7)},
    ],
    ids=lambda more: next(iter(more)),
)
def test_what_is_not_plain_is_left(more):
    draw = world.a_draw(world.a_version(PERIODS_AND_TIERS))
    Draw.objects.filter(pk=draw.pk).update(**more)
    world.tell([(draw.meter, START + HOUR, 100_400)])

    assert rate() == accrue.Accrued(done=0, left_over=1, looked=0, batches=1)
    assert only(draw).reasons == ["unusual"]


def test_where_the_slots_have_a_gap_nothing_is_given_away():
    draw = world.a_draw()
    PriceSlot.objects.filter(starts_at=START + HOUR).delete()
    world.tell([(draw.meter, START + 3 * HOUR, 100_400)])

    assert rate().left_over == 1
    draw.refresh_from_db()
    assert draw.total_nano == 0


def test_old_news_is_left_and_more_than_four_hundred_readings_too():
    offline, busy = world.a_draw(), world.a_draw()
    world.tell([(offline.meter, START + QUARTER, 100_400)], stored_at=START + timedelta(days=4))
    world.tell(
        [(busy.meter, START + timedelta(days=3, seconds=n), 100_000 + n) for n in range(401)],
        stored_at=START + timedelta(days=4),
    )

    assert rate(now=START + timedelta(days=4)).left_over == 2


def test_a_meter_that_hangs_nowhere_is_nobodys_yet():
    draw = world.a_draw()
    Draw.objects.all().delete()
    Installation.objects.all().delete()
    world.tell([(draw.meter, START + QUARTER, 100_400)])

    assert rate() == accrue.Accrued(done=0, left_over=0, looked=0, batches=1)
    assert Reading.objects.count() == 1


def test_a_meter_that_hangs_without_a_draw_waits_for_one():
    draw = world.a_draw()
    Draw.objects.all().delete()
    world.tell([(draw.meter, START + QUARTER, 100_400)])

    rate()

    assert only(draw).reasons == ["no_draw"]


def test_a_purse_that_falls_below_its_mark_is_to_be_looked_at_once_a_batch():
    draw = world.a_draw()
    draw.purse.look_below_fen = -21  # 400 Wh at 0.50 yuan are 20 fen
    draw.purse.save(update_fields=["look_below_fen"])
    world.tell([(draw.meter, START + QUARTER, 100_400)])
    assert rate().looked == 0

    world.tell([(draw.meter, START + 2 * QUARTER, 100_430)])

    assert rate().looked == 1
    assert Review.objects.get().purse_id == draw.purse_id


def test_what_another_meter_of_the_purse_drew_counts_toward_the_mark():
    draw, other = world.a_draw(), world.a_draw()
    Draw.objects.filter(pk=other.pk).update(purse=draw.purse, total_nano=2 * 10**9)
    draw.purse.look_below_fen = -21
    draw.purse.save(update_fields=["look_below_fen"])
    world.tell([(draw.meter, START + QUARTER, 100_400)])

    assert rate().looked == 1


def test_what_the_meter_counts_itself_asks_for_no_review():
    draw = world.a_draw(counted_by="meter")
    world.tell([(draw.meter, START + QUARTER, 100_400)])

    assert rate() == accrue.Accrued(done=1, left_over=0, looked=0, batches=1)


def test_several_batches_that_waited_are_rated_at_once_and_none_looks_late():
    draw = world.a_draw()
    for quarters in (1, 2, 3):
        world.tell(
            [(draw.meter, START + quarters * QUARTER, 100_000 + 100 * quarters)], stored_at=NOW + quarters * QUARTER
        )

    assert rate() == accrue.Accrued(done=1, left_over=0, looked=0, batches=3)


def test_a_later_batchs_readings_wait_for_it():
    draw = world.a_draw()
    for quarters in (1, 2):
        world.tell(
            [(draw.meter, START + quarters * QUARTER, 100_000 + 100 * quarters)], stored_at=NOW + quarters * QUARTER
        )

    assert [accrue.accrue(now=NOW, batches_at_most=1).done for _ in range(2)] == [1, 1]
    assert not Backlog.objects.exists()


def test_so_do_those_of_a_batch_that_another_gateway_with_a_slower_clock_stores_meanwhile():
    draw = world.a_draw()
    first = world.tell([(draw.meter, START + QUARTER, 100_100)], stored_at=NOW + timedelta(seconds=1))
    world.tell([(draw.meter, START + 2 * QUARTER, 100_200)], stored_at=NOW)

    with transaction.atomic():
        accrue._rate(accrue._claim(accrue._CLAIM_ONE, first.pk), NOW)

    draw.refresh_from_db()
    assert draw.last_wh == 100_100
    assert rate() == accrue.Accrued(done=1, left_over=0, looked=0, batches=1)
    assert not Backlog.objects.exists()


@pytest.mark.parametrize(
    ("definition", "registers", "done"),
    [
        (PERIODS_AND_TIERS, [0, 0, 0, 400, 0], 1),  # at night, and the meter says so too
        (PERIODS_AND_TIERS, [0, 10, 0, 390, 0], 0),  # the meter's clock is off: for the engine
        (ONE_PRICE, [0, 10, 0, 390, 0], 1),  # one price whatever it says
    ],
)
def test_the_meters_own_registers_are_left_to_the_engine_where_they_matter(definition, registers, done):
    draw = world.a_draw(world.a_version(definition))
    world.tell([(draw.meter, START, 100_000)], period_wh=[0] * 5)
    Batch.objects.all().delete()
    world.tell([(draw.meter, START + QUARTER, 100_400)], period_wh=registers)

    assert rate().done == done


def test_a_batch_that_makes_the_statement_fail_is_set_aside_and_holds_up_no_other():
    """Whatever it is that nobody thought of: here, a price slot that breaks the statement's arithmetic."""
    good, bad = world.a_draw(), world.a_draw()
    world.tell([(bad.meter, START + QUARTER, 100_400)])
    world.tell([(good.meter, START + QUARTER, 100_400)])
    PriceSlot.objects.filter(version=bad.version).update(fee=2**62, prices=[2**62])

    assert rate() == accrue.Accrued(done=1, left_over=1, looked=0, batches=2)
    assert only(bad).reasons == ["not_rated"]
    assert not Batch.objects.exists()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)


def planned(batch: Batch) -> tuple[list[dict[str, Any]], set[str]]:
    """Scans of readings, and what is gone through again for each row of something else."""
    claimed = accrue.Claimed([batch.pk], batch.first_at, [batch.stored_at])
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("set local jit = off; set local plan_cache_mode = force_custom_plan")
        cursor.execute(
            "explain (format json) " + accrue.STATEMENT,
            accrue.parameters(claimed, list(Draw.objects.values_list("pk", flat=True)), NOW),
        )
        plan = cursor.fetchone()[0]
    found = list(nodes((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]))
    readings = [node for node in found if node.get("Relation Name", "").startswith("meters_reading_")]
    assert {node["Relation Name"] for node in readings} == {"meters_reading_2026_11"}
    return readings, {node["Plans"][1]["Node Type"] for node in found if node["Node Type"] == "Nested Loop"}


def grow(draw: Draw, homes: int) -> None:
    """So many homes more, and a hundred readings of others, behind the statistics' back."""
    told = {"draw": draw.pk, "meter": draw.meter_id, "hung": draw.installation_id, "homes": homes}
    with connection.cursor() as cursor:
        cursor.execute(_GROW, told)
    Reading.objects.bulk_create(
        Reading(
            meter_id=meter,
            read_at=START + n * QUARTER,
            property_id=draw.property_id,
            received_at=START,
            import_wh=n,
            relay="closed",
        )
        for meter in range(10_000_000, 10_000_200)
        for n in range(1, 101)
    )


_GROW = """
with meters as (
    insert into meters_meter (property_id, model_id, serial, is_online, relay, relay_order, relay_generation)
    select property_id, model_id, 'grown-' || n, false, '', '', 0 from meters_meter, generate_series(1, %(homes)s) n
     where id = %(meter)s
    returning id, property_id
), hung as (
    insert into meters_installation (property_id, room_id, meter_id, starts_at, starts_wh, ct_ratio)
    select m.property_id, i.room_id, m.id, i.starts_at, 0, 1 from meters m, meters_installation i where i.id = %(hung)s
    returning id, meter_id
)
insert into billing_draw (property_id, room_id, installation_id, meter_id, purse_id, starts_at, is_current, counted_by,
       last_at, last_wh, cycle_wh, day_date, day_wh, day_nano, total_nano, closed_until, closed_nano, posted_fen,
       revision, version_id, ct_ratio, max_power_w, extra_wh, plain_until_at, is_plain, why_not)
select d.property_id, d.room_id, h.id, h.meter_id, d.purse_id, d.starts_at, true, 'server', d.last_at, 0, 0, d.day_date,
       0, 0, 0, d.closed_until, 0, 0, 0, d.version_id, 1, d.max_power_w, '{}', d.plain_until_at, true, ''
  from hung h, billing_draw d where d.id = %(draw)s
"""


def test_the_plan_keeps_its_shape_on_empty_small_and_grown_tables():
    """One month's partition, by its key; nothing that could be thousands of rows is gone through for each of others."""
    draw = world.a_draw()
    batch = world.tell([(draw.meter, START + QUARTER, 100_400)])
    planned(batch)
    with connection.cursor() as cursor:
        cursor.execute("analyze billing_draw, meters_reading, billing_priceslot, billing_purse")
    planned(batch)

    grow(draw, 2_000)

    for counted in (False, True):
        if counted:
            with connection.cursor() as cursor:
                cursor.execute("analyze meters_reading, billing_draw, meters_installation")
        readings, inner = planned(batch)
        assert {node["Node Type"] for node in readings} <= {"Index Scan", "Index Only Scan"}
        assert not {"CTE Scan", "Function Scan", "Subquery Scan"} & inner


def test_a_propertys_own_purse_is_never_looked_at():
    draw = world.a_draw()
    draw.purse.tenancy, draw.purse.look_below_fen = None, 10**9
    draw.purse.save(update_fields=["tenancy", "look_below_fen"])
    world.tell([(draw.meter, START + QUARTER, 100_400)])

    assert rate() == accrue.Accrued(done=1, left_over=0, looked=0, batches=1)
