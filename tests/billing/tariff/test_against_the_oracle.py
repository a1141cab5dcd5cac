"""The engine and a slow walk from watt-hour to watt-hour agree to the nano-fen, whatever the tariff."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.tariff import expand, parse
from billing.tariff.civil import instant
from billing.tariff.price import ChargeLine, charge
from billing.tariff.split import Slice, Term, split
from billing.tariff.tiers import Household
from billing.tariff.units import share
from tests.billing.tariff import oracle
from tests.billing.tariff.definitions import FIRST_DATE, definitions, special_days

MINUTE = timedelta(minutes=1)
MICROSECOND = timedelta(microseconds=1)
THOROUGH = settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
gaps = st.one_of(
    st.timedeltas(MINUTE / 60, timedelta(hours=3)),
    st.integers(1, 200).map(lambda quarters: quarters * 15 * MINUTE),
    st.timedeltas(timedelta(days=1), timedelta(days=120)),
)


@dataclass(frozen=True)
class Interval:
    """Between two readings: when, how much, and who lives there."""

    from_at: datetime
    to_at: datetime
    energy_wh: int
    used_wh: int
    household: Household


@st.composite
def intervals(draw) -> Interval:
    """Hits midnight and quarters of an hour often."""
    odd = draw(st.sampled_from([timedelta(), timedelta(seconds=1, microseconds=1), 7 * MINUTE]))
    from_at = instant(FIRST_DATE, minute=15 * draw(st.integers(0, 95))) + odd
    moved_in_date = draw(st.none() | st.integers(0, 200).map(lambda days: FIRST_DATE - timedelta(days=days)))
    return Interval(
        from_at=from_at,
        to_at=from_at + draw(gaps),
        energy_wh=draw(st.integers(0, 300)),
        used_wh=draw(st.integers(0, 300)),
        household=Household(draw(st.integers(1, 6)), moved_in_date),
    )


@THOROUGH
@given(intervals(), definitions(), st.none() | st.tuples(gaps, definitions()), special_days, st.randoms())
def test_every_watt_hour_costs_what_it_costs(interval: Interval, now, change, special, dice) -> None:
    written = [(interval.from_at, 1, now)]
    if change:
        written.append((interval.from_at + change[0], 2, change[1]))
    household = interval.household
    cycle = oracle.Book(now, household.people, household.moved_in_date).cycle(FIRST_DATE)
    used_wh = {cycle[0]: interval.used_wh} if cycle else {}

    slow = oracle.walk(
        from_at=interval.from_at,
        to_at=interval.to_at,
        energy_wh=interval.energy_wh,
        terms=written,
        special_days=special,
        used_wh=used_wh,
        people=household.people,
        moved_in=household.moved_in_date,
    )
    terms = [Term(at, version, parse.tariff(definition)) for at, version, definition in written]
    slices = cut(interval, terms, special)
    lines, counted = charged(terms, dice.sample(slices, len(slices)), used_wh, household)

    energy_wh: Counter[tuple[Any, ...]] = Counter()
    for line in lines:
        energy_wh[line.usage_date, line.version, line.tier, line.period, line.cycle_date] += line.energy_wh
    assert energy_wh == slow.energy_wh
    assert sum(line.cost_nano_fen for line in lines) == slow.cost_nano_fen
    assert sum(line.fee_nano_fen for line in lines) == slow.fee_nano_fen
    assert {cycle: wh for cycle, wh in counted.items() if wh} == {cycle: wh for cycle, wh in slow.counted.items() if wh}


@THOROUGH
@given(intervals(), definitions(), special_days)
def test_rows_for_the_database_mean_the_same(interval: Interval, definition, special) -> None:
    tariff = parse.tariff(definition)
    window = tariff.window(FIRST_DATE, interval.household)
    used_wh = {window.start_date: interval.used_wh} if window else {}
    last_date = oracle.civil(interval.to_at)
    slots = expand.slots(tariff, first_date=FIRST_DATE, last_date=last_date, special_days=special)
    limits = expand.limits(tariff, first_date=FIRST_DATE, last_date=last_date, household=interval.household)

    cost_nano_fen, counted = joined(interval, list(slots), {one.start_date: one.limits_wh for one in limits}, used_wh)

    terms = [Term(interval.from_at, 1, tariff)]
    lines, counted_by_lines = charged(terms, cut(interval, terms, special), used_wh, interval.household)
    assert cost_nano_fen == sum(line.total_nano_fen for line in lines)
    assert counted == counted_by_lines


def joined(interval: Interval, slots, limits_wh, used_wh) -> tuple[int, dict[date, int]]:
    """As SQL would: overlaps with the slots, floors of the running total, running use in the cycle, its limits."""
    cost_nano_fen, counted = 0, dict(used_wh)
    whole = (interval.to_at - interval.from_at) // MICROSECOND
    for slot in slots:
        begin_at, end_at = max(slot.from_at, interval.from_at), min(slot.to_at, interval.to_at)
        if begin_at >= end_at:
            continue
        gone = [(at - interval.from_at) // MICROSECOND for at in (begin_at, end_at)]
        before_wh, after_wh = (share(interval.energy_wh, part=part, of=whole) for part in gone)
        low = counted.get(slot.cycle_date, 0)
        high = low + after_wh - before_wh
        edges = pairwise([0, *limits_wh.get(slot.cycle_date, ()), 10**15])
        for price, (bottom, top) in zip(slot.prices_micro_fen_per_kwh, edges, strict=False):
            cost_nano_fen += max(0, min(high, top) - max(low, bottom)) * (price + slot.fee_micro_fen_per_kwh)
        if slot.cycle_date:
            counted[slot.cycle_date] = high
    return cost_nano_fen, counted


def cut(interval: Interval, terms: list[Term], special) -> tuple[Slice, ...]:
    return split(
        from_at=interval.from_at,
        to_at=interval.to_at,
        energy_wh=interval.energy_wh,
        terms=terms,
        special_days=special,
    ).slices


def charged(terms: list[Term], slices, used_wh, household: Household) -> tuple[list[ChargeLine], dict[date, int]]:
    """One version after the other."""
    lines: list[ChargeLine] = []
    for term in terms:
        own = [one for one in slices if one.version == term.version]
        result = charge(tariff=term.tariff, slices=own, used_wh=used_wh, household=household)
        used_wh = dict(result.used_wh)
        lines.extend(result.lines)
    return lines, used_wh
