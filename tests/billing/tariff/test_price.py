"""Slices become lines that add up, whatever the order they come in."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.tariff import units
from billing.tariff.price import charge, summed
from tests.billing.tariff.makers import cut, day_and_night, one_price, tiered

DAYS = ("2026-06-29 12:00", "2026-07-03 12:00")


def test_a_line_says_what_it_costs_and_why() -> None:
    tariff = day_and_night(fee_yuan="0.05")

    (line,) = charge(
        tariff=tariff, slices=cut("2026-07-01 09:00", "2026-07-01 10:00", 1500, tariff).slices, used_wh={}
    ).lines

    assert (line.usage_date, line.tier, line.period, line.energy_wh) == (date(2026, 7, 1), 1, "peak", 1500)
    assert (line.price_micro_fen_per_kwh, line.fee_micro_fen_per_kwh) == (60_000_000, 5_000_000)
    assert (units.to_fen(line.cost_nano_fen), line.fee_nano_fen, units.to_fen(line.total_nano_fen)) == (
        90,
        7_500_000_000,
        98,
    )
    assert (line.version, line.cycle_date, line.estimated) == (0, None, False)


def test_a_tier_that_is_used_up_begins_the_next() -> None:
    tariff = tiered(kwh=(1, 3))

    charged = charge(
        tariff=tariff,
        slices=cut("2026-07-01 09:00", "2026-07-01 10:00", 3000, tariff).slices,
        used_wh={date(2026, 1, 1): 500},
    )

    assert [(line.tier, line.energy_wh, line.cycle_date) for line in charged.lines] == [
        (1, 500, date(2026, 1, 1)),
        (2, 2000, date(2026, 1, 1)),
        (3, 500, date(2026, 1, 1)),
    ]
    assert charged.used_wh == {date(2026, 1, 1): 3500}


def test_a_new_cycle_begins_from_zero_within_one_interval() -> None:
    monthly = tiered(kwh=(1,), cycle={"months": 1})

    charged = charge(tariff=monthly, slices=cut(*DAYS, 4000, monthly).slices, used_wh={date(2026, 6, 1): 800})

    assert charged.used_wh == {date(2026, 6, 1): 2300, date(2026, 7, 1): 2500}
    assert [(line.usage_date.day, line.tier, line.energy_wh) for line in charged.lines] == [
        (29, 1, 200),
        (29, 2, 300),
        (30, 2, 1000),
        (1, 1, 1000),
        (2, 2, 1000),
        (3, 2, 500),
    ]


def test_where_there_are_no_tiers_nothing_is_counted() -> None:
    winter = tiered(kwh=(1,), cycle={"months": 12, "starts": "12-01", "season": ["12-01", "04-30"]})

    charged = charge(tariff=winter, slices=cut(*DAYS, 4000, winter).slices, used_wh={})

    assert {line.tier for line in charged.lines} == {1}
    assert charged.used_wh == {}


@given(st.randoms(), st.integers(0, 9000))
def test_the_order_in_which_slices_come_does_not_matter(dice, used_wh: int) -> None:
    tariff = tiered(kwh=(1, 3, 5), cycle={"months": 1})
    slices = cut(*DAYS, 8000, tariff).slices

    in_order = charge(tariff=tariff, slices=slices, used_wh={date(2026, 6, 1): used_wh})
    shuffled = charge(tariff=tariff, slices=dice.sample(slices, len(slices)), used_wh={date(2026, 6, 1): used_wh})

    assert shuffled == in_order


@given(st.integers(0, 8))
def test_two_calls_are_as_good_as_one(first: int) -> None:
    """A reading in between, charged at once, costs what it would have cost with the rest."""
    tariff = tiered(kwh=(1, 3, 5), cycle={"months": 1})
    slices = cut(*DAYS, 8000, tariff).slices

    once = charge(tariff=tariff, slices=slices, used_wh={})
    before = charge(tariff=tariff, slices=slices[:first], used_wh={})
    after = charge(tariff=tariff, slices=slices[first:], used_wh=before.used_wh)

    assert before.lines + after.lines == once.lines
    assert after.used_wh == once.used_wh


def test_what_the_caller_counted_is_not_changed() -> None:
    used_wh = {date(2026, 1, 1): 500}

    charge(tariff=tiered(), slices=cut(*DAYS, 100, tiered()).slices, used_wh=used_wh)

    assert used_wh == {date(2026, 1, 1): 500}


def test_a_bill_shows_one_line_for_a_day_tier_and_period() -> None:
    tariff = day_and_night()
    quarter = charge(tariff=tariff, slices=cut("2026-07-01 09:00", "2026-07-01 09:15", 100, tariff).slices, used_wh={})
    night = charge(tariff=tariff, slices=cut("2026-07-01 20:00", "2026-07-02 01:00", 500, tariff).slices, used_wh={})

    lines = summed([*night.lines, *quarter.lines])

    assert [(line.usage_date.day, line.period, line.energy_wh, line.estimated) for line in lines] == [
        (1, "peak", 300, True),
        (1, "valley", 200, True),
        (2, "valley", 100, True),
    ]
    assert sum(line.total_nano_fen for line in lines) == sum(
        line.total_nano_fen for line in [*night.lines, *quarter.lines]
    )


def test_lines_of_two_prices_stay_apart() -> None:
    lines = [
        charge(tariff=tariff, slices=cut("2026-07-01 09:00", "2026-07-01 10:00", 100, tariff).slices, used_wh={}).lines[
            0
        ]
        for tariff in (one_price("0.50"), one_price("0.60"), one_price("0.50"))
    ]

    assert [(line.price_micro_fen_per_kwh, line.energy_wh) for line in summed(lines)] == [
        (50_000_000, 200),
        (60_000_000, 100),
    ]


def test_no_slices_are_no_lines() -> None:
    charged = charge(tariff=one_price(), slices=[], used_wh={date(2026, 1, 1): 7})

    assert (charged.lines, charged.used_wh) == ((), {date(2026, 1, 1): 7})
    with pytest.raises(ValueError, match="negative"):
        charge(tariff=tiered(), slices=cut(*DAYS, 1, tiered()).slices, used_wh={date(2026, 1, 1): -1})


def test_the_worked_example_of_the_manual() -> None:
    """Zhejiang, 13 kWh over a night, 5 kWh before the first tier is full (docs/tariffs.md)."""
    tariff = day_and_night(
        tiers={"cycle": {"months": 12}, "limits": [{"kwh": [2760, 4800]}]},
        prices=[{"yuan": {"peak": "0.5680", "valley": "0.2880"}, "surcharge_yuan": ["0.05", "0.30"]}],
        fee_yuan="0.02",
    )

    lines = charge(
        tariff=tariff,
        slices=cut("2026-07-01 20:00", "2026-07-02 09:00", 13_000, tariff).slices,
        used_wh={date(2026, 1, 1): 2_755_000},
    ).lines

    assert [(line.period, line.tier, line.energy_wh) for line in lines] == [
        ("peak", 1, 2000),
        ("valley", 1, 2000),
        ("valley", 1, 1000),
        ("valley", 2, 7000),
        ("peak", 2, 1000),
    ]
    energy_nano_fen, fee_nano_fen = (
        sum(getattr(line, name) for line in lines) for name in ("cost_nano_fen", "fee_nano_fen")
    )
    assert (energy_nano_fen, fee_nano_fen) == (498_400_000_000, 26_000_000_000)
    assert units.shown_apart(energy_nano_fen=energy_nano_fen, fee_nano_fen=fee_nano_fen) == (498, 26)
    posted_fen = units.to_fen(sum(line.total_nano_fen for line in lines if line.usage_date.day == 1))
    assert posted_fen == 179
    assert units.to_post(total_nano_fen=energy_nano_fen + fee_nano_fen, posted_fen=posted_fen) == 345
