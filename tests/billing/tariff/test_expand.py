"""A version laid out over days; that the rows mean what the engine does is held in test_against_the_oracle."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

from billing.tariff import expand
from billing.tariff.calendar import china
from billing.tariff.tiers import Household
from tests.billing.tariff.makers import at, day_and_night, one_price, tiered

JULY = {"first_date": date(2026, 7, 1), "last_date": date(2026, 7, 31)}
CHINA = {day.on: day.day_type for day in china()}


def test_a_month_is_covered_without_gaps() -> None:
    slots = list(expand.slots(day_and_night(), **JULY, special_days=CHINA))

    assert (slots[0].from_at, slots[-1].to_at) == (at("2026-07-01"), at("2026-08-01"))
    assert all(before.to_at == after.from_at for before, after in pairwise(slots))
    assert len(slots) == 3 * 31


def test_a_slot_knows_its_cycle_and_the_price_of_every_tier() -> None:
    slot = next(expand.slots(tiered(kwh=(100, 200), cycle={"months": 1}), **JULY, special_days={}))

    assert (slot.usage_date, slot.period, slot.cycle_date) == (date(2026, 7, 1), "flat", date(2026, 7, 1))
    assert slot.prices_micro_fen_per_kwh == (50_000_000, 60_000_000, 70_000_000)
    assert slot.fee_micro_fen_per_kwh == 0


def test_a_year_of_monthly_cycles_has_twelve_limits() -> None:
    year = {"first_date": date(2026, 1, 1), "last_date": date(2026, 12, 31)}

    windows = list(expand.limits(tiered(cycle={"months": 1}), **year, household=Household()))

    assert [window.start_date.month for window in windows] == list(range(1, 13))
    assert all(before.end_date == after.start_date for before, after in pairwise(windows))


def test_limits_begin_when_the_household_moved_in() -> None:
    moved_in = Household(moved_in_date=date(2026, 7, 20))
    restarting = tiered(restarts_with_tenancy=True, prorated=True)

    (window,) = expand.limits(restarting, **JULY, household=moved_in)

    assert (window.start_date, window.counted_from_date) == (date(2026, 1, 1), date(2026, 7, 20))


def test_limits_of_the_room_do_not_care_who_moved_in() -> None:
    moved_in = Household(moved_in_date=date(2026, 7, 20))
    weeks = {"first_date": date(2026, 6, 15), "last_date": date(2026, 7, 31)}

    windows = expand.limits(tiered(cycle={"months": 1}), **weeks, household=moved_in)

    assert [window.counted_from_date for window in windows] == [date(2026, 6, 1), date(2026, 7, 1)]


def test_without_tiers_there_are_no_limits() -> None:
    assert list(expand.limits(one_price(), **JULY, household=Household())) == []
    assert {slot.cycle_date for slot in expand.slots(one_price(), **JULY, special_days={})} == {None}
