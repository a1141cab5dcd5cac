"""Nobody resells electricity for more than it cost, unless somebody says why."""

from __future__ import annotations

import pytest

from billing.tariff import parse
from billing.tariff.ceiling import exceeding
from billing.tariff.periods import Period
from billing.tariff.units import price
from tests.billing.tariff.makers import day_and_night, one_price, tiered


def test_what_costs_as_much_as_the_supply_is_allowed() -> None:
    assert exceeding(one_price("0.69987"), supply_micro_fen_per_kwh=price("0.69987")) == ()


def test_the_fee_counts() -> None:
    with_fee = parse.tariff({"prices": [{"yuan": "0.50"}], "fee_yuan": "0.02"})

    (found,) = exceeding(with_fee, supply_micro_fen_per_kwh=price("0.51"))

    assert (found.season, found.tier, found.period) == (0, 1, "flat")
    assert found.over_micro_fen_per_kwh == price("0.01")
    assert (found.price_micro_fen_per_kwh, found.fee_micro_fen_per_kwh, found.supply_micro_fen_per_kwh) == (
        price("0.50"),
        price("0.02"),
        price("0.51"),
    )


def test_only_the_tiers_above_the_supply_price_are_named() -> None:
    found = exceeding(tiered(kwh=(1, 2, 3)), supply_micro_fen_per_kwh=price("0.65"))

    assert [(one.tier, one.over_micro_fen_per_kwh) for one in found] == [(3, price("0.05")), (4, price("0.15"))]


def test_each_period_is_held_against_its_own_supply_price() -> None:
    """Peak 0.60 and valley 0.30."""
    same = exceeding(day_and_night(), supply_micro_fen_per_kwh={"peak": price("0.60"), "valley": price("0.30")})
    lower = exceeding(day_and_night(), supply_micro_fen_per_kwh={"peak": price("0.60"), "valley": price("0.29")})

    assert same == ()
    assert [one.period for one in lower] == ["valley"]


def test_a_period_that_the_supply_does_not_name_is_held_against_its_lowest_price() -> None:
    supply: dict[Period, int] = {"flat": price("0.50"), "valley": price("0.40")}

    (found,) = exceeding(day_and_night(), supply_micro_fen_per_kwh=supply)

    assert (found.period, found.supply_micro_fen_per_kwh) == ("peak", price("0.40"))


def test_the_season_that_exceeds_is_named() -> None:
    winter = {"when": {"months": [12, 1, 2]}, "yuan": "0.80"}
    tariff = parse.tariff({"prices": [{"yuan": "0.50"}, winter]})

    assert [one.season for one in exceeding(tariff, supply_micro_fen_per_kwh=price("0.60"))] == [1]


def test_a_supply_without_a_price_is_no_supply() -> None:
    with pytest.raises(ValueError, match="empty"):
        exceeding(one_price(), supply_micro_fen_per_kwh={})
