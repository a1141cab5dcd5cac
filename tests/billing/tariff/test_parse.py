"""Definitions as staff write them: what they mean, and what is said when they mean nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from billing.tariff import dump, parse
from billing.tariff.errors import DefinitionError
from billing.tariff.tiers import Cycle, Extension
from billing.tariff.when import Dates
from tests.billing.tariff.definitions import definitions

ONE_PRICE = {"prices": [{"yuan": "0.53"}]}
TWO_TIERS = {"cycle": {"months": 12}, "limits": [{"kwh": [2760]}]}
TWO_PRICES = [{"yuan": [{"flat": "0.5"}, {"flat": "0.6"}]}]
DAY_AND_NIGHT = {"day": {"peak": ["08:00-22:00"], "valley": ["22:00-08:00"]}}
DAY_AND_NIGHT_PRICES = [{"yuan": {"peak": "0.6", "valley": "0.3"}}]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(definitions())
def test_a_tariff_that_is_written_down_and_read_again_is_the_same(definition) -> None:
    tariff = parse.tariff(definition)

    written = json.loads(json.dumps(dump.definition(tariff)))

    assert parse.tariff(written) == tariff


def test_a_single_price_is_a_tariff_of_one_tier_that_is_always_flat() -> None:
    tariff = parse.tariff(ONE_PRICE)

    assert tariff.tiers == 1
    assert tariff.schedule.periods == {"flat"}
    assert tariff.prices.seasons[0].cells == {(1, "flat"): 53_000_000}
    assert tariff.fee_micro_fen_per_kwh == 0


def test_a_surcharge_means_the_full_table() -> None:
    surcharged = [{"yuan": {"peak": "0.568", "valley": "0.288"}, "surcharge_yuan": ["0.05"]}]

    tariff = parse.tariff({"periods": [DAY_AND_NIGHT], "tiers": TWO_TIERS, "prices": surcharged, "fee_yuan": "0.05"})

    assert tariff.prices.seasons[0].cells == {
        (1, "peak"): 56_800_000,
        (1, "valley"): 28_800_000,
        (2, "peak"): 61_800_000,
        (2, "valley"): 33_800_000,
    }
    assert tariff.fee_micro_fen_per_kwh == 5_000_000


def test_every_field_of_the_tiers_is_understood_and_written_down_again() -> None:
    tiers = {
        "cycle": {"months": 1, "starts": "12-01", "season": ["12-01", "04-30"]},
        "limits": [{"kwh": ["170.5"]}, {"when": {"dates": [["07-01", "08-31"]]}, "kwh": [260]}],
        "extension": {"moves": "first", "steps": [{"people": 5, "kwh_per_month": 100}]},
        "restarts_with_tenancy": True,
        "prorated": True,
        "counted_from": "2012-07-01",
    }

    ladder = parse.tariff({"tiers": tiers, "prices": TWO_PRICES}).ladder

    assert ladder
    assert ladder.cycle == Cycle(1, (12, 1), Dates((12, 1), (4, 30)))
    assert ladder.extension == Extension("first", ((5, 100_000),))
    assert [one.limits_wh for one in ladder.limits] == [(170_500,), (260_000,)]
    assert (ladder.restarts_with_tenancy, ladder.prorated, str(ladder.counted_from_date)) == (True, True, "2012-07-01")
    assert dump.definition(parse.tariff({"tiers": tiers, "prices": TWO_PRICES}))["tiers"] == tiers


def test_null_is_nothing_said() -> None:
    assert parse.tariff({**ONE_PRICE, "tiers": None, "fee_yuan": None}) == parse.tariff(ONE_PRICE)


@pytest.mark.parametrize(
    ("definition", "error"),
    [
        ([], ": Write an object with fields."),
        ({}, "prices: This field is required."),
        ({**ONE_PRICE, "tier": {}}, "tier: There is no such field; known are periods, tiers, prices, fee_yuan."),
        ({"prices": []}, "prices: Write a list of 1 to 100 entries."),
        ({"prices": {"yuan": "1"}}, "prices: Write a list of 1 to 100 entries."),
        ({"prices": [{"yuan": "0.5"}] * 101}, "prices: Write a list of 1 to 100 entries."),
        ({"prices": [{"yuan": []}]}, "prices[0].yuan: Write a list of 1 to 100 entries."),
        ({"prices": [{}]}, "prices[0].yuan: This field is required."),
        ({**ONE_PRICE, "periods": "day"}, "periods: Write a list of 1 to 100 entries."),
    ],
)
def test_the_form_is_strict(definition, error: str) -> None:
    assert said_of(definition) == error


@pytest.mark.parametrize(
    "price", ["", "-1", "1,5", "0.123456789", "1e3", " 1", "\uff11", ".5", "5.", "00.5", "1000", "0.5 "]
)
def test_a_price_is_yuan_with_at_most_eight_decimals(price: str) -> None:
    wrong = 'prices[0].yuan: Write yuan per kWh as text with at most 8 decimals, such as "0.60886875".'

    assert said_of({"prices": [{"yuan": price}]}) == wrong


def test_a_price_is_text_since_a_number_would_not_be_exact() -> None:
    assert said_of({"prices": [{"yuan": {"flat": 0.5}}]}) == "prices[0].yuan.flat: Write text in quotation marks."
    assert said_of({**ONE_PRICE, "fee_yuan": 1}) == "fee_yuan: Write text in quotation marks."


@pytest.mark.parametrize(
    ("prices", "error"),
    [
        ({"yuan": {"night": "1"}}, ".yuan.night: There is no such field; known are sharp, peak, flat, valley, deep_v"),
        ({"yuan": {}}, ".yuan: Write at least one of sharp, peak, flat, valley, deep_valley."),
        ({"yuan": ["0.5"], "surcharge_yuan": ["0.1"]}, ".surcharge_yuan: Write surcharges to the prices of the first"),
        ({"yuan": ["0.5", "0.6"]}, ".yuan: The number of tiers is 1, that of rows of prices 2."),
        ({"yuan": {"peak": "0.5"}}, ".yuan: There is no price for flat in tier 1."),
        ({"yuan": {"flat": "0.5", "sharp": "1"}}, ".yuan: There is a price for sharp in tier 1, but no hours."),
        ({"when": {"day_types": ["holiday"]}, "yuan": "0.5"}, ".when: Here only months and dates count; write day"),
    ],
)
def test_prices_must_fit_tiers_and_periods(prices, error: str) -> None:
    assert said_of({"prices": [prices]}).startswith(f"prices[0]{error}")


def test_only_periods_that_can_hold_need_a_price() -> None:
    """July knows no flat hours at all, and the rest of the year no sharp ones."""
    july = {"when": {"months": [7]}, "day": {"sharp": ["10:00-22:00"], "valley": "rest"}}
    summer_prices = {"when": {"months": [7]}, "yuan": {"sharp": "1", "valley": "0.3"}}
    definition = {"periods": [{"day": {"flat": "rest"}}, july], "prices": [{"yuan": "0.5"}, summer_prices]}

    assert parse.tariff(definition).prices.seasons[1].cells == {(1, "sharp"): 10**8, (1, "valley"): 3 * 10**7}


@pytest.mark.parametrize(
    ("cycle", "error"),
    [
        ({}, ".months: This field is required."),
        ({"months": 5}, ".months: A cycle has 1, 2, 3, 4, 6 or 12 months."),
        ({"months": 24}, ".months: Write a whole number from 1 to 12."),
        ({"months": True}, ".months: Write a whole number from 1 to 12."),
        ({"months": 12, "starts": "02-30"}, ".starts: Write a day of the year as month-day, such as 05-01."),
        ({"months": 12, "starts": "1-1"}, ".starts: Write a day of the year as month-day, such as 05-01."),
        ({"months": 12, "season": ["12-01"]}, ".season: Write the first and the last day, such as 11-01 and 04-30."),
    ],
)
def test_a_cycle_must_make_sense(cycle, error: str) -> None:
    assert said_of({"tiers": {**TWO_TIERS, "cycle": cycle}, "prices": TWO_PRICES}) == f"tiers.cycle{error}"


@pytest.mark.parametrize(
    ("limits", "error"),
    [
        ([{"kwh": [0]}], "[0].kwh[0]: Write kWh above 0: a whole number, or text with at most 3 decimals"),
        ([{"kwh": [-1]}], "[0].kwh[0]: Write kWh above 0: a whole number, or text with at most 3 decimals"),
        ([{"kwh": ["0.0001"]}], "[0].kwh[0]: Write kWh above 0: a whole number, or text with at most 3 decimals"),
        ([{"kwh": [1.5]}], "[0].kwh[0]: Write text in quotation marks."),
        ([{"kwh": [True]}], "[0].kwh[0]: Write text in quotation marks."),
        ([{"kwh": [100, 100]}], "[0].kwh: Each limit must be above the one before it."),
        ([{"kwh": [9]}, {"when": {"months": [7]}, "kwh": [1, 2]}], "[1].kwh: All rules must have the same number"),
        ([{"when": {"months": [7]}, "kwh": [1]}], ": No rule holds on 08-01 – 06-30."),
        ([{"when": {"weekdays": ["Monday"]}, "kwh": [1]}], "[0].when: Here only months and dates count; write day"),
    ],
)
def test_limits_must_make_sense(limits, error: str) -> None:
    wrong = said_of({"tiers": {**TWO_TIERS, "limits": limits}, "prices": TWO_PRICES})

    assert wrong.startswith(f"tiers.limits{error}")


@pytest.mark.parametrize(
    ("tiers", "error"),
    [
        ({"cycle": None}, "cycle: This field is required."),
        ({"limits": None}, "limits: This field is required."),
        ({"counted_from": "2026-02-30"}, "counted_from: Write a date as year-month-day, such as 2026-07-01."),
        ({"counted_from": "20260201"}, "counted_from: Write a date as year-month-day, such as 2026-07-01."),
        ({"counted_from": 2026}, "counted_from: Write text in quotation marks."),
        ({"prorated": "yes"}, "prorated: Write true or false."),
        ({"extension": {"moves": "some"}}, "extension.steps: This field is required."),
        ({"extension": {"moves": "some", "steps": []}}, "extension.moves: Write one of first, all."),
        ({"extension": {"moves": "all", "steps": [{"people": 3}]}}, "extension.steps[0].kwh_per_month: This field is"),
        (
            {"extension": {"moves": "all", "steps": [{"people": 1, "kwh_per_month": 1}]}},
            "extension.steps[0].people: Write a whole number from 2 to 1000.",
        ),
    ],
)
def test_tiers_must_make_sense(tiers, error: str) -> None:
    assert said_of({"tiers": {**TWO_TIERS, **tiers}, "prices": TWO_PRICES}).startswith(f"tiers.{error}")


@pytest.mark.parametrize(
    ("day", "error"),
    [
        ({"peak": ["08:00-22:00"]}, ": Nothing holds from 00:00 to 08:00."),
        ({"peak": ["00:00-22:00"]}, ": Nothing holds from 22:00 to 24:00."),
        ({"peak": ["08:00-22:00"], "valley": ["21:00-08:30"]}, ": valley and peak both hold from 08:00 to 08:30."),
        ({"peak": ["00:00-24:00"], "flat": ["03:00-04:00"]}, ": peak and flat both hold from 03:00 to 04:00."),
        ({"flat": "rest", "valley": "rest"}, ".valley: Only one period can be the rest."),
        ({}, ": Write at least one of sharp, peak, flat, valley, deep_valley."),
        ({"flat": "others"}, ".flat: Write a list of 1 to 100 entries."),
        ({"night": "rest"}, ".night: There is no such field; known are sharp, peak, flat, valley, deep_valley."),
    ],
)
def test_a_day_must_be_covered_once(day, error: str) -> None:
    assert said_of({"periods": [{"day": day}], "prices": DAY_AND_NIGHT_PRICES}) == f"periods[0].day{error}"


@pytest.mark.parametrize(
    "hours", ["8:00-9:00", "08:00-08:00", "24:00-25:00", "24:00-08:00", "08:00-24:01", "08:60-09:00", "08:00"]
)
def test_hours_are_from_minute_to_minute(hours: str) -> None:
    wrong = said_of({"periods": [{"day": {"flat": [hours]}}], "prices": DAY_AND_NIGHT_PRICES})

    assert wrong.startswith("periods[0].day.flat[0]: Write hours such as 08:00-22:00; across midnight, 22:00-08:00;")


JULY = {"months": [7]}
BOTH = "Rules %d and %d both hold on %s, and neither is the more specific one."


@pytest.mark.parametrize(
    ("whens", "error"),
    [
        ([{"months": [7, 7]}], "[0].when.months[1]: This is there twice."),
        ([{"months": [13]}], "[0].when.months[0]: Write a whole number from 1 to 12."),
        ([{"day_types": ["feast"]}], "[0].when.day_types[0]: Write one of workday, weekend, holiday."),
        ([{**JULY, "dates": [["01-01", "02-01"]]}], "[0].when: There is no such day."),
        ([JULY], ": No rule holds on 08-01 – 06-30."),
        ([JULY, {**JULY, "day_types": ["holiday"]}], ": No rule holds on 08-01 – 06-30 (workday, Monday)."),
        ([{"dates": [["03-01", "02-28"]]}], ": No rule holds on 02-29."),
        ([{"day_types": ["workday", "weekend"]}], ": No rule holds on 01-01 – 12-31 (holiday, Monday)."),
        ([{}, {}], "[1].when: " + BOTH % (1, 2, "01-01 – 12-31 (workday, Monday)")),
        ([{}, JULY, {"weekdays": ["Sunday"]}], "[2].when: " + BOTH % (2, 3, "07-01 – 07-31 (workday, Sunday)")),
        ([{}, JULY, {"dates": [["06-15", "07-15"]]}], "[2].when: " + BOTH % (2, 3, "07-01 – 07-15 (workday, Monday)")),
    ],
)
def test_each_day_must_have_one_most_specific_rule(whens, error: str) -> None:
    rules = [{"when": when, **DAY_AND_NIGHT} for when in whens]

    assert said_of({"periods": rules, "prices": DAY_AND_NIGHT_PRICES}).startswith(f"periods{error}")


def test_a_narrower_rule_settles_what_two_others_share() -> None:
    whens = [{}, {"months": [7]}, {"weekdays": ["Sunday"]}, {"months": [7], "weekdays": ["Sunday"]}]

    parse.tariff({"periods": [{"when": when, **DAY_AND_NIGHT} for when in whens], "prices": DAY_AND_NIGHT_PRICES})


def test_an_error_can_be_translated_by_whoever_shows_it() -> None:
    with pytest.raises(DefinitionError) as caught:
        parse.tariff({**ONE_PRICE, "tiers": {"cycle": {"months": 0}, "limits": []}})

    error = caught.value
    assert error.path == "tiers.cycle.months"
    assert error.message_id == "Write a whole number from %(lowest)d to %(highest)d."
    assert error.message_id % error.params == "Write a whole number from 1 to 12."


def said_of(definition) -> str:
    with pytest.raises(DefinitionError) as caught:
        parse.tariff(definition)
    return str(caught.value)


def test_what_the_manual_shows_is_a_tariff() -> None:
    manual = (Path(__file__).parents[3] / "docs/tariffs.md").read_text()

    tariffs = [parse.tariff(json.loads(text)) for text in re.findall(r"```json\n(.*?)```", manual, re.DOTALL)]

    assert [(tariff.tiers, len(tariff.schedule.periods)) for tariff in tariffs] == [(1, 1), (3, 2), (3, 2)]
