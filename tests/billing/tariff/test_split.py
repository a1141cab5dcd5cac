"""Energy between two readings, cut where its price could change."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.tariff import parse
from billing.tariff.civil import civil_date
from billing.tariff.split import Split, split
from tests.billing.tariff.definitions import special_days
from tests.billing.tariff.makers import at, cut, day_and_night, one_price

# Peak from 08:00 to 22:00: from 20:00 to 09:00 are 2 h of peak, 10 h of valley (2 before midnight), 1 h of peak.
EVENING, MORNING = "2026-07-01 20:00", "2026-07-02 09:00"


def test_a_reading_within_one_period_is_not_cut() -> None:
    found = cut("2026-07-01 09:00", "2026-07-01 09:15", 123, day_and_night())

    (only,) = found.slices
    assert (only.from_at, only.to_at) == (at("2026-07-01 09:00"), at("2026-07-01 09:15"))
    assert (only.period, only.energy_wh, only.version, only.estimated) == ("peak", 123, 0, False)
    assert found.basis == "time"


def test_a_night_is_cut_at_period_boundaries_and_midnight() -> None:
    assert told(cut(EVENING, MORNING, 1300, day_and_night())) == [
        "01 20:00 peak 200",
        "01 22:00 valley 200",
        "02 00:00 valley 800",
        "02 08:00 peak 100",
    ]


def test_what_does_not_divide_goes_where_the_running_total_reaches_the_next_watt_hour() -> None:
    assert [one.energy_wh for one in cut(EVENING, MORNING, 5, day_and_night()).slices] == [0, 1, 3, 1]


def test_a_new_version_and_a_new_tenancy_are_cuts_too() -> None:
    found = cut(
        "2026-07-01 08:00",
        "2026-07-01 12:00",
        4000,
        one_price("0.50"),
        one_price("0.60"),
        changes=["2026-07-01 10:00"],
        cuts=[at("2026-07-01 11:00"), at("2026-07-01 07:00"), at("2026-07-03 07:00")],
    )

    assert [(one.version, one.energy_wh, one.estimated) for one in found.slices] == [
        (0, 2000, True),
        (1, 1000, True),
        (1, 1000, True),
    ]


def test_a_version_that_begins_in_mid_afternoon_brings_its_own_periods() -> None:
    afternoon = {"day": {"sharp": ["14:00-20:00"], "valley": "rest"}}
    late = parse.tariff({"periods": [afternoon], "prices": [{"yuan": {"sharp": "1", "valley": "0.3"}}]})

    found = cut("2026-07-01 13:00", "2026-07-01 21:00", 800, day_and_night(), late, changes=["2026-07-01 15:00"])

    assert told(found) == ["01 13:00 peak 200", "01 15:00 sharp 500", "01 20:00 valley 100"]


def test_the_offset_in_which_an_instant_is_written_does_not_matter() -> None:
    eastern = cut(EVENING, MORNING, 1300, day_and_night())
    utc = cut("2026-07-01T12:00+00:00", "2026-07-02T01:00+00:00", 1300, day_and_night())

    assert utc.slices == eastern.slices


def test_days_offline_are_cut_at_every_midnight() -> None:
    slices = cut("2026-06-28 12:00", "2026-07-03 12:00", 5000, one_price()).slices

    assert [one.energy_wh for one in slices] == [500, 1000, 1000, 1000, 1000, 500]
    assert len({civil_date(one.from_at) for one in slices}) == 6


def test_no_time_and_no_energy_are_no_slices() -> None:
    assert cut(EVENING, EVENING, 0, day_and_night()).slices == ()
    assert cut(EVENING, EVENING, 0, day_and_night(), registers_wh={"peak": 10}).implausible


@settings(deadline=None)
@given(
    st.integers(0, 10**6),
    st.lists(st.integers(1, 10**9), min_size=1, max_size=8),
    special_days,
    st.none() | st.tuples(st.integers(0, 900), st.integers(0, 900)),
)
def test_slices_add_up_and_follow_each_other(energy_wh: int, cuts: list[int], special, counted) -> None:
    """However it is cut, at whatever microsecond, with registers or without."""
    from_at = at("2027-11-01 07:59")
    instants = [from_at + timedelta(microseconds=1000 * cut) for cut in cuts]
    registers_wh = {"peak": counted[0], "valley": counted[1]} if counted else None

    found = cut(
        from_at.isoformat(),
        max(instants).isoformat(),
        energy_wh,
        day_and_night(),
        cuts=instants,
        special_days=special,
        registers_wh=registers_wh,
    )

    assert sum(one.energy_wh for one in found.slices) == energy_wh
    assert all(one.energy_wh >= 0 and one.from_at < one.to_at for one in found.slices)
    if found.basis == "time":
        edges = [from_at, *(one.to_at for one in found.slices)]
        assert [one.from_at for one in found.slices] == edges[:-1]
        assert edges[-1] == max(instants)


@given(st.integers(0, 5000), st.sets(st.integers(1, 779), max_size=5))
def test_what_is_cut_once_more_adds_up_to_what_it_was(energy_wh: int, minutes: set[int]) -> None:
    plain = cut(EVENING, MORNING, energy_wh, day_and_night()).slices

    finer = cut(
        EVENING,
        MORNING,
        energy_wh,
        day_and_night(),
        cuts=[at(EVENING) + timedelta(minutes=minute) for minute in minutes],
    ).slices

    for one in plain:
        inside = [part.energy_wh for part in finer if one.from_at <= part.from_at and part.to_at <= one.to_at]
        assert sum(inside) == one.energy_wh


def test_the_meters_own_registers_decide_where_they_exist() -> None:
    found = cut(EVENING, MORNING, 1300, day_and_night(), registers_wh={"peak": 1000, "valley": 300})

    assert found.basis == "registers"
    assert told(found) == ["01 20:00 peak 666", "01 22:00 valley 60", "02 00:00 valley 240", "02 08:00 peak 334"]
    assert {period: wh for period, wh in found.discrepancy_wh.items() if wh} == {"peak": 700, "valley": -700}
    assert (found.unexplained_wh, found.implausible) == (0, False)


def test_registers_that_differ_from_the_total_by_their_steps_give_the_proportion() -> None:
    """Three registers of 10 Wh steps: up to 30 Wh between the total and the sum of the two others."""
    found = cut(EVENING, MORNING, 1300, day_and_night(), registers_wh={"peak": 1030, "valley": 300})

    assert found.basis == "registers"
    assert sum(one.energy_wh for one in found.slices if one.period == "peak") == 1300 * 1030 // 1330
    assert sum(one.energy_wh for one in found.slices) == 1300
    assert found.unexplained_wh == -30


def test_behind_a_current_transformer_a_step_of_a_register_is_as_many_times_larger() -> None:
    registers_wh = {"peak": 40 * 1000, "valley": 40 * 290}  # one step of 10 Wh was lost in rounding

    found = cut(EVENING, MORNING, 40 * 1300, day_and_night(), registers_wh=registers_wh, ratio=40)

    assert (found.basis, found.implausible, found.unexplained_wh) == ("registers", False, 400)
    assert cut(EVENING, MORNING, 40 * 1300, day_and_night(), registers_wh=registers_wh).implausible


@pytest.mark.parametrize(
    "registers_wh",
    [
        {"peak": 1040, "valley": 300},  # 40 Wh too many for three registers
        {"peak": 960, "valley": 300},
        {"peak": 1310, "valley": -10},
        {"peak": 1000, "sharp": 300},  # a period without a price
    ],
)
def test_registers_that_cannot_belong_to_the_total_are_not_believed(registers_wh) -> None:
    found = cut(EVENING, MORNING, 1300, day_and_night(), registers_wh=registers_wh)

    assert (found.basis, found.implausible) == ("time", True)
    assert found.slices == cut(EVENING, MORNING, 1300, day_and_night()).slices
    assert found.unexplained_wh == 1300 - sum(registers_wh.values())


def test_registers_that_have_not_moved_yet_leave_it_to_time() -> None:
    found = cut(EVENING, MORNING, 10, day_and_night(), registers_wh={"peak": 0, "valley": 0})

    assert (found.basis, found.implausible, found.unexplained_wh) == ("time", False, 10)


def test_a_period_that_did_not_occur_by_our_clock_is_charged_as_the_meter_counted_it() -> None:
    found = cut("2026-07-01 22:00", "2026-07-01 23:00", 400, day_and_night(), registers_wh={"peak": 100, "valley": 300})

    assert sorted(told(found)) == ["01 22:00 peak 100", "01 22:00 valley 300"]
    assert found.discrepancy_wh["peak"] == 100


def test_where_everything_is_flat_registers_do_not_matter() -> None:
    found = cut(EVENING, MORNING, 1300, one_price(), registers_wh={"peak": 1, "valley": 2})

    assert (found.basis, found.implausible, found.discrepancy_wh) == ("time", False, {})


@pytest.mark.parametrize(
    ("from_at", "to_at", "energy_wh", "error"),
    [
        (EVENING, MORNING, -1, "energy cannot be negative"),
        (MORNING, EVENING, 0, "energy needs time"),
        (EVENING, EVENING, 1, "energy needs time"),
        ("1999-12-31", MORNING, 1, "no tariff version holds when the interval begins"),
    ],
)
def test_nonsense_is_refused(from_at: str, to_at: str, energy_wh: int, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        cut(from_at, to_at, energy_wh, one_price())


def test_versions_must_be_there_and_in_order() -> None:
    with pytest.raises(ValueError, match="not in order"):
        cut(EVENING, MORNING, 1, one_price(), one_price(), changes=["2000-01-01"])
    with pytest.raises(ValueError, match="no tariff version holds"):
        split(from_at=at(EVENING), to_at=at(MORNING), energy_wh=1, terms=[], special_days={})


def test_an_instant_must_say_its_offset() -> None:
    with pytest.raises(ValueError, match="without its offset"):
        civil_date(datetime(2026, 7, 1))  # noqa: DTZ001 (that is what is refused)


def told(found: Split) -> list[str]:
    return [f"{one.from_at:%d %H:%M} {one.period} {one.energy_wh}" for one in found.slices]
