"""When a count begins and ends, and how much fits into each tier."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.tariff.tiers import Household, Window, by_tier
from billing.tariff.version import Tariff
from tests.billing.tariff.makers import one_price, tiered

SHANGHAI = (3120, 4800)


@pytest.mark.parametrize(
    ("cycle", "on", "start", "end"),
    [
        ({"months": 12}, date(2026, 12, 31), date(2026, 1, 1), date(2027, 1, 1)),
        ({"months": 12, "starts": "12-01"}, date(2026, 11, 30), date(2025, 12, 1), date(2026, 12, 1)),
        ({"months": 12, "starts": "12-01"}, date(2026, 12, 1), date(2026, 12, 1), date(2027, 12, 1)),
        ({"months": 1}, date(2028, 2, 29), date(2028, 2, 1), date(2028, 3, 1)),
        ({"months": 1, "starts": "01-16"}, date(2026, 3, 15), date(2026, 2, 16), date(2026, 3, 16)),
        ({"months": 1, "starts": "01-31"}, date(2026, 2, 28), date(2026, 2, 28), date(2026, 3, 31)),
        ({"months": 1, "starts": "01-31"}, date(2026, 3, 30), date(2026, 2, 28), date(2026, 3, 31)),
        ({"months": 12, "starts": "02-29"}, date(2027, 2, 28), date(2027, 2, 28), date(2028, 2, 29)),
        ({"months": 2}, date(2026, 8, 31), date(2026, 7, 1), date(2026, 9, 1)),
        ({"months": 3, "starts": "02-01"}, date(2026, 1, 31), date(2025, 11, 1), date(2026, 2, 1)),
    ],
)
def test_a_cycle_has_its_days(cycle, on: date, start: date, end: date) -> None:
    window = window_of(tiered(cycle=cycle), on)

    assert (window.start_date, window.end_date, window.counted_from_date) == (start, end, start)


def test_in_yunnan_tiers_hold_from_december_to_april() -> None:
    yunnan = tiered(cycle={"months": 1, "season": ["12-01", "04-30"]})

    assert yunnan.window(date(2026, 11, 30)) is None
    assert window_of(yunnan, date(2026, 12, 1)).start_date == date(2026, 12, 1)
    assert window_of(yunnan, date(2027, 4, 30)).end_date == date(2027, 5, 1)
    assert yunnan.window(date(2027, 5, 1)) is None


def test_a_whole_season_may_be_one_cycle() -> None:
    tariff = tiered(cycle={"months": 12, "starts": "12-01", "season": ["12-01", "04-30"]})

    for on in (date(2026, 12, 1), date(2027, 1, 1), date(2027, 4, 30)):
        window = window_of(tariff, on)
        assert (window.start_date, window.end_date) == (date(2026, 12, 1), date(2027, 5, 1))


def test_a_cycle_that_began_before_the_season_is_cut_to_it() -> None:
    window = window_of(tiered(cycle={"months": 12, "season": ["11-15", "02-29"]}), date(2026, 12, 31))

    assert (window.start_date, window.end_date) == (date(2026, 11, 15), date(2027, 1, 1))
    after = window_of(tiered(cycle={"months": 12, "season": ["11-15", "02-29"]}), date(2027, 2, 28))
    assert (after.start_date, after.end_date) == (date(2027, 1, 1), date(2027, 3, 1))


def test_tiers_that_began_in_july_2012_had_half_of_the_years_limits() -> None:
    shanghai = tiered(kwh=SHANGHAI, counted_from="2012-07-01", prorated=True)

    assert shanghai.window(date(2012, 6, 30)) is None
    assert window_of(shanghai, date(2012, 7, 1)).limits_wh == (1_560_000, 2_400_000)
    assert window_of(shanghai, date(2012, 7, 1)).counted_from_date == date(2012, 7, 1)
    assert window_of(shanghai, date(2013, 1, 1)).limits_wh == (3_120_000, 4_800_000)


@pytest.mark.parametrize(
    ("moved_in", "first_limit_wh"),
    [
        (date(2025, 7, 1), 3_120_000),
        (date(2026, 1, 1), 3_120_000),
        (date(2026, 1, 31), 3_120_000),
        (date(2026, 7, 1), 1_560_000),
        (date(2026, 7, 15), 1_560_000),
        (date(2026, 12, 31), 260_000),
    ],
)
def test_who_moves_in_later_has_the_months_that_are_left(moved_in: date, first_limit_wh: int) -> None:
    shanghai = tiered(kwh=SHANGHAI, restarts_with_tenancy=True, prorated=True)

    window = window_of(shanghai, date(2026, 12, 31), Household(moved_in_date=moved_in))

    assert window.limits_wh[0] == first_limit_wh
    assert window.counted_from_date == max(moved_in, date(2026, 1, 1))
    assert window.start_date == date(2026, 1, 1)


def test_without_proration_a_new_tenancy_has_the_whole_limits() -> None:
    window = window_of(tiered(restarts_with_tenancy=True), date(2026, 7, 2), Household(moved_in_date=date(2026, 7, 1)))

    assert window.limits_wh == (100_000,)


def test_where_the_count_stays_with_the_room_moving_in_changes_nothing() -> None:
    room = tiered(prorated=True)

    assert window_of(room, date(2026, 7, 2), Household(moved_in_date=date(2026, 7, 1))) == window_of(
        room, date(2026, 7, 2)
    )


def test_a_day_before_the_household_moved_in_is_somebody_elses() -> None:
    with pytest.raises(ValueError, match="2026-06-30 is before the household moved in on 2026-07-01"):
        tiered(restarts_with_tenancy=True).window(date(2026, 6, 30), Household(moved_in_date=date(2026, 7, 1)))


@pytest.mark.parametrize(
    ("people", "moves", "limits_wh"),
    [
        (4, "first", (3_120_000, 4_800_000)),
        (5, "first", (4_320_000, 4_800_000)),
        (7, "first", (5_520_000, 5_520_000)),
        (4, "all", (3_120_000, 4_800_000)),
        (5, "all", (4_320_000, 6_000_000)),
        (7, "all", (5_520_000, 7_200_000)),
    ],
)
def test_large_households_have_more_room(people: int, moves: str, limits_wh: tuple[int, ...]) -> None:
    steps = [{"people": 5, "kwh_per_month": 100}, {"people": 7, "kwh_per_month": 200}]
    shanghai = tiered(kwh=SHANGHAI, extension={"moves": moves, "steps": steps})

    assert window_of(shanghai, date(2026, 7, 1), Household(people)).limits_wh == limits_wh


def test_the_extension_is_of_the_months_that_the_cycle_has_and_prorated_with_the_rest() -> None:
    extension = {"moves": "all", "steps": [{"people": 5, "kwh_per_month": 100}]}
    monthly = tiered(cycle={"months": 1}, extension=extension)
    winter = tiered(cycle={"months": 12, "starts": "12-01", "season": ["12-01", "04-30"]}, extension=extension)
    yearly = tiered(extension=extension, counted_from="2026-07-01", prorated=True)

    limits = [window_of(one, date(2026, 12, 1), Household(5)).limits_wh for one in (monthly, winter, yearly)]

    assert limits == [(200_000,), (600_000,), (650_000,)]


def test_limits_may_differ_by_the_season_in_which_the_cycle_begins() -> None:
    limits = [{"kwh": [200, 400]}, {"when": {"months": [5, 6, 7, 8, 9, 10]}, "kwh": [260, 600]}]
    guangdong = tiered(kwh=(1, 2), cycle={"months": 1, "starts": "01-16"}, limits=limits)

    assert window_of(guangdong, date(2026, 5, 15)).limits_wh == (200_000, 400_000)
    assert window_of(guangdong, date(2026, 5, 16)).limits_wh == (260_000, 600_000)
    assert window_of(guangdong, date(2026, 11, 15)).limits_wh == (260_000, 600_000)


def test_a_tariff_without_tiers_counts_nothing() -> None:
    assert one_price().window(date(2026, 7, 1)) is None


@pytest.mark.parametrize(
    ("used_wh", "energy_wh", "parts"),
    [
        (0, 0, ()),
        (0, 100, ((1, 100),)),
        (0, 101, ((1, 100), (2, 1))),
        (100, 1, ((2, 1),)),
        (99, 202, ((1, 1), (2, 200), (3, 1))),
        (1000, 5, ((3, 5),)),
        (50, 0, ()),
    ],
)
def test_energy_is_cut_where_a_tier_is_used_up(used_wh: int, energy_wh: int, parts) -> None:
    assert by_tier(used_wh=used_wh, energy_wh=energy_wh, limits_wh=(100, 300)) == parts


def test_an_empty_tier_takes_nothing() -> None:
    assert by_tier(used_wh=90, energy_wh=20, limits_wh=(100, 100)) == ((1, 10), (3, 10))


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 500))
def test_two_steps_are_as_good_as_one(used_wh: int, first_wh: int, second_wh: int) -> None:
    limits_wh = (100, 300, 700)
    once = dict(by_tier(used_wh=used_wh, energy_wh=first_wh + second_wh, limits_wh=limits_wh))

    twice: dict[int, int] = {}
    for before_wh, energy_wh in ((used_wh, first_wh), (used_wh + first_wh, second_wh)):
        for tier, wh in by_tier(used_wh=before_wh, energy_wh=energy_wh, limits_wh=limits_wh):
            twice[tier] = twice.get(tier, 0) + wh

    assert once == twice
    assert sum(once.values()) == first_wh + second_wh


@pytest.mark.parametrize(("used_wh", "energy_wh"), [(-1, 5), (5, -1)])
def test_energy_does_not_flow_back(used_wh: int, energy_wh: int) -> None:
    with pytest.raises(ValueError, match="energy cannot be negative"):
        by_tier(used_wh=used_wh, energy_wh=energy_wh, limits_wh=())


def window_of(tariff: Tariff, on: date, household: Household | None = None) -> Window:
    window = tariff.window(on, household or Household())
    assert window
    return window
