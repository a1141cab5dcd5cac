"""What a home owes depends on the set of its readings, and not on when, how often or in which order they came."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from billing.models import Backlog, Doubt, Draw
from billing.rating import accrue, careful, chain
from billing.rating.chain import Point, Rule
from billing.tariff import parse
from billing.tariff.civil import CIVIL
from billing.tariff.price import charge
from billing.tariff.split import Term, split
from meters.models import Batch, Installation, Meter
from tests.billing.rating import world
from tests.billing.rating.world import NOW, PERIODS_AND_TIERS, QUARTER, START

pytestmark = pytest.mark.django_db

RULE = Rule(max_w=13_200, ct=20, wraps_wh=1_000_000_000)
Told = tuple[datetime, int]


def a_history(dice: random.Random, *, last_wh: int) -> list[Told]:
    """Two days of a meter's life: uneven steps, days offline, and everything that registers and clocks do wrong."""
    told, at, wh = [], START, last_wh
    for _ in range(dice.randint(4, 14)):
        gone = timedelta(milliseconds=dice.randint(1_000, dice.choice([900_000, 3_600_000, 40_000_000])))
        at += gone
        if at > NOW:
            break
        wh = (wh + dice.randint(0, int(gone / timedelta(hours=1) * 9_000) + 1)) % 1_000_000_000
        wrong = dice.random()
        if wrong < 0.08:
            told.append((at, dice.choice([0, 7, wh + 10**8, max(0, wh - 500)])))  # a glitch
        elif wrong < 0.12:
            wh = (wh + 400_000) % 1_000_000_000  # a jump beyond what the breaker lets through
            told.append((at, wh))
        elif wrong < 0.15:
            wh = dice.randint(0, 50)  # a replaced board
            told.append((at, wh))
        else:
            told.append((at, wh))
    return told


def deliver(dice: random.Random, draw: Draw, told: list[Told], *, orderly: bool) -> None:
    """Orderly: each as it comes. Else: shuffled, in batches of any size, some twice, rated at any time or not yet."""
    told = list(told)
    if not orderly:
        dice.shuffle(told)
    now, left = NOW, told
    while left:
        size = 1 if orderly else dice.randint(1, 6)
        batch, left = left[:size], left[size:]
        again = [] if orderly else dice.sample(told, k=min(len(told), dice.randint(0, 2)))
        now += timedelta(seconds=1)
        world.tell([(draw.meter, at, wh) for at, wh in {*batch, *again}], stored_at=now)
        if orderly or dice.random() < 0.6:
            accrue.accrue(now=now, batches_at_most=dice.randint(1, 8))
        if dice.random() < 0.4:
            careful.work(now=now)
    finish(now + timedelta(hours=2))


def finish(now: datetime) -> None:
    while Batch.objects.exists():
        accrue.accrue(now=now)
    careful.work(now=now)
    assert not Backlog.objects.exists()


def outcome(draw: Draw) -> tuple[object, ...]:
    draw.refresh_from_db()
    doubts = Doubt.objects.filter(installation=draw.installation_id).order_by("read_at")
    return (
        *(draw.last_at, draw.last_wh, draw.total_nano, draw.cycle_wh, draw.day_date, draw.day_wh, draw.day_nano),
        *(draw.is_plain, draw.why_not),
        *doubts.filter(state="open").values_list("read_at", "import_wh"),
    )


def owed(draw: Draw, told: list[Told], *, last_wh: int, cycle_wh: int = 0) -> tuple[int, int]:
    """(nano-fen, Wh of the cycle) by the fold of all readings and the engine, with nothing of the tables."""
    assert draw.version
    tariff = parse.tariff(draw.version.definition)
    folded = chain.fold([Point(*one) for one in told], start=Point(START, last_wh), rulings={}, rule=RULE)
    terms, nano = [Term(datetime(2026, 1, 1, tzinfo=CIVIL), 1, tariff)], 0
    used: Mapping[Any, int] = {draw.cycle_date: cycle_wh}
    for span in folded.spans:
        cut = split(from_at=span.a.at, to_at=span.b.at, energy_wh=span.energy_wh, terms=terms, special_days={})
        charged = charge(tariff=tariff, slices=cut.slices, used_wh=used)
        nano, used = nano + sum(line.total_nano_fen for line in charged.lines), charged.used_wh
    return nano, used[draw.cycle_date]


@pytest.mark.parametrize("seed", range(30))
def test_late_twice_and_out_of_order_owe_what_orderly_readings_owe(seed):
    dice = random.Random(seed)
    last_wh = dice.choice([100_000, 999_990_000])
    version = world.a_version(PERIODS_AND_TIERS)
    told = a_history(dice, last_wh=last_wh)
    orderly = world.a_draw(version, last_wh=last_wh, ct_ratio=20)
    deliver(dice, orderly, told, orderly=True)
    expected = outcome(orderly)
    assert expected[2:4] == owed(orderly, told, last_wh=last_wh)

    for _ in range(2):
        other = world.a_draw(version, last_wh=last_wh, ct_ratio=20)
        deliver(dice, other, told, orderly=False)

        assert outcome(other) == expected


@pytest.mark.parametrize("seed", range(6))
def test_a_replaced_meter_and_a_new_tenant_share_what_was_used_whatever_came_first(seed):
    """The tenant changes at noon, between two readings; the meter is replaced a day later."""
    dice = random.Random(seed)
    version = world.a_version(PERIODS_AND_TIERS)
    outcomes = []
    for _ in range(3):
        first = world.a_draw(version)
        noon, swapped = START + timedelta(hours=12), START + timedelta(hours=30)
        Draw.objects.filter(pk=first.pk).update(ends_at=noon, plain_until_at=noon)
        hung = Installation.objects.get(pk=first.installation_id)
        hung.ends_at, hung.ends_wh = swapped, 112_000
        hung.save(update_fields=["ends_at", "ends_wh"])
        second = world.another_draw(first, starts_at=noon, ends_at=swapped)
        new = Meter.objects.create(property=first.property, model=first.meter.model, serial=f"new-{first.pk}")
        third = world.another_draw(
            second,
            starts_at=swapped,
            ends_at=None,
            meter=new,
            installation=Installation.objects.create(
                property=first.property, room=first.room, meter=new, starts_at=swapped, starts_wh=50
            ),
            last_wh=50,
            is_current=True,
            is_plain=False,
        )
        told = [(first.meter, START + n * 5 * QUARTER, 100_000 + 450 * n) for n in range(1, 24)]
        told += [(new, swapped + n * QUARTER, 50 + 100 * n) for n in range(1, 9)]
        dice.shuffle(told)
        now = NOW
        while told:
            now += timedelta(seconds=1)
            world.tell(told[:7], stored_at=now)
            told = told[7:]
            accrue.accrue(now=now)
            careful.work(now=now)
        careful.leave(
            installation_ids=[first.installation_id, third.installation_id], from_at=START, reason="moved", now=now
        )
        finish(now + timedelta(hours=2))
        for draw in (first, second, third):
            draw.refresh_from_db()
        outcomes.append([(draw.total_nano, draw.last_at, draw.is_current) for draw in (first, second, third)])

        assert third.cycle_wh == 12_000 + 800
        assert sum(total for total, _at, _current in outcomes[-1]) > 0

    assert outcomes[0] == outcomes[1] == outcomes[2]
