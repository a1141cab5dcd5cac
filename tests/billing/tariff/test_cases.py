"""Published tariffs and worked amounts (tests/vectors/tariff_cases.json) come out to the fen."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from billing.tariff import parse, units
from billing.tariff.civil import CIVIL, instant
from billing.tariff.price import charge
from billing.tariff.split import Slice, Term, split

FILE = json.loads((Path(__file__).parents[2] / "vectors/tariff_cases.json").read_text())
REGIONS = {tariff["key"]: tariff for tariff in FILE["tariffs"]}
CASES = {case["id"]: case for case in FILE["cases"]}
SUMMER = [5, 6, 7, 8, 9, 10]

# The same as in the file, which gives them as prose.
TIMES = {
    "zhejiang": {"peak": ["08:00-22:00"], "valley": ["22:00-08:00"]},
    "jiangsu": {"peak": ["08:00-21:00"], "valley": ["21:00-08:00"]},
    "shanghai": {"peak": ["06:00-22:00"], "valley": ["22:00-06:00"]},
    "guangdong_city": {"peak": ["10:00-12:00", "14:00-19:00"], "valley": ["00:00-08:00"], "flat": "rest"},
    "sichuan": {"valley": ["23:00-07:00"], "flat": "rest"},
}
YEARLY = {"months": 12}
MONTHLY = {"months": 1}


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("op-")])
def test_a_worked_amount_comes_out_to_the_fen(name: str) -> None:
    case = CASES[name]
    given = case["input"]
    usage_date = date(2026, given.get("month", 7), 10)

    assert amount(definition(case), parts(given), usage_date, given.get("already_used_in_cycle", "0")) == case["amount"]


def test_the_published_summer_bill_of_guangzhou_is_53_yuan_below_the_winter_one() -> None:
    guangzhou = definition(CASES["gz-600-winter"])

    summer, winter = (amount(guangzhou, [("flat", "600")], date(2026, month, 10), "0") for month in (7, 1))

    assert (summer, winter) == ("370.40", "423.40")


def test_valley_energy_used_before_the_tier_is_full_is_cheaper_in_shanghai() -> None:
    """The third allocation that the file asks about: in order of time, valley first, peak runs into the second tier."""
    shanghai = definition(CASES["sh-tou-tier1"])

    assert amount(shanghai, [("valley", "120"), ("peak", "180")], date(2026, 7, 10), "2920") == "153.90"


def test_a_price_that_changes_at_a_reading() -> None:
    readings = [
        (datetime.fromisoformat(at).replace(tzinfo=CIVIL), kwh) for at, kwh in given("op-price-change")["readings"]
    ]
    registers = [units.energy_wh(kwh.removesuffix(".00")) for _at, kwh in readings]

    total = sum(
        changing_price(readings[index][0], readings[index + 1][0], registers[index + 1] - registers[index])
        for index in range(2)
    )

    assert yuan(total) == CASES["op-price-change"]["amount"]


def test_a_price_that_changes_between_readings_is_split_by_time_and_says_that_it_is_an_estimate() -> None:
    total = changing_price(instant(date(2026, 6, 1)), instant(date(2026, 7, 1)), 200_000, estimated=True)

    assert yuan(total) == CASES["op-price-change-no-reading"]["amount"]


def test_ten_small_slices_are_rounded_once() -> None:
    price = units.price("0.60886875")
    posted_fen = total_nano_fen = 0

    for kwh in given("op-rounding")["slices"]:
        total_nano_fen += units.energy_wh(kwh) * price
        posted_fen += units.to_post(total_nano_fen=total_nano_fen, posted_fen=posted_fen)

    assert yuan(total_nano_fen) == f"{posted_fen / 100:.2f}" == CASES["op-rounding"]["amount"]


def test_every_case_of_the_file_is_tested() -> None:
    assert {name for name in CASES if name.startswith("op-")} == {
        "op-price-change",
        "op-price-change-no-reading",
        "op-rounding",
    }


def definition(case) -> dict[str, Any]:
    """The tariff of a case, out of the file's table of its region."""
    region = case["region"].split(" ")[0]
    if region == "textbook":
        return {"tiers": ladder(MONTHLY, [{"kwh": [50]}]), "prices": [{"yuan": by_tier("0.53", "0.58")}]}
    if region == "shenzhen":
        return {"prices": [{"yuan": REGIONS[region]["shared_meter_price"]}]}
    if region == "sichuan":
        return sichuan()
    table = REGIONS[region]
    if not isinstance(case["input"]["kwh"], dict):
        return {"tiers": tiers(table), "prices": [{"yuan": by_tier(*prices(table))}]}
    if region == "shanghai":
        return shanghai(table)
    surcharges = [table["tou"]["surcharge"][tier] for tier in "23"]
    return {
        "periods": [{"day": TIMES[region]}],
        "tiers": tiers(table),
        "prices": [{"yuan": table["tou"]["prices"]["1"], "surcharge_yuan": surcharges}],
    }


def shanghai(table) -> dict[str, Any]:
    """Two tiers of a full table: the third one's prices were not read in any source."""
    return {
        "periods": [{"day": TIMES["shanghai"]}],
        "tiers": ladder(YEARLY, [{"kwh": [table["tiers"][0]["upto"]]}]),
        "prices": [{"yuan": [table["tou"]["prices"][tier] for tier in "12"]}],
    }


def sichuan() -> dict[str, Any]:
    """Two tiers: the second one's limit was not read. The seasons of tiers and of valley prices are not the same."""
    table = REGIONS["sichuan"]
    wet, dry = table["valley"]["wet_price"], table["valley"]["dry_months_price"]
    flat = [one["price"] for one in table["seasons"][0]["tiers"]]
    rows = {
        season: [{"flat": flat[tier], "valley": valley[str(tier + 1)]} for tier in (0, 1)]
        for season, valley in (("wet", wet), ("dry", dry))
    }
    return {
        "periods": [{"day": TIMES["sichuan"]}],
        "tiers": ladder(MONTHLY, [{"kwh": [180]}, {"when": {"months": [7, 8, 9]}, "kwh": [260]}]),
        "prices": [{"yuan": rows["dry"]}, {"when": {"months": table["valley"]["wet_months"]}, "yuan": rows["wet"]}],
    }


def tiers(table) -> dict[str, Any]:
    if table["cycle"] == "year":
        return ladder(YEARLY, [{"kwh": limits(table["tiers"])}])
    seasons = [{"when": {"months": one["months"]}, "kwh": limits(one["tiers"])} for one in table["seasons"]]
    return ladder(MONTHLY, seasons)


def ladder(cycle, rules) -> dict[str, Any]:
    return {"cycle": cycle, "limits": rules}


def limits(rows) -> list[int]:
    return [row["upto"] for row in rows if row["upto"]]


def prices(table) -> list[str]:
    return [row["price"] for row in (table.get("tiers") or table["seasons"][0]["tiers"])]


def by_tier(*yuan: str) -> list[dict[str, str]]:
    return [{"flat": price} for price in yuan]


def parts(given) -> list[tuple[str, str]]:
    """(period, kWh) in the order of use. Proportional: as if three equal readings had been taken."""
    if not isinstance(given["kwh"], dict):
        return [("flat", given["kwh"])]
    named = [("flat" if period == "other" else period, kwh) for period, kwh in given["kwh"].items()]
    if given.get("allocation") == "proportional":
        return [(period, str(int(kwh) // 3)) for _third in range(3) for period, kwh in named]
    return named


def amount(definition, parts, usage_date: date, used_kwh: str) -> str:
    tariff = parse.tariff(definition)
    at = instant(usage_date)
    slices = [
        Slice(
            at + timedelta(minutes=n), at + timedelta(minutes=n + 1), period, units.energy_wh(kwh), 1, estimated=False
        )
        for n, (period, kwh) in enumerate(parts)
    ]
    window = tariff.window(usage_date)
    used_wh = {window.start_date: units.energy_wh(used_kwh)} if window else {}
    return yuan(sum(line.total_nano_fen for line in charge(tariff=tariff, slices=slices, used_wh=used_wh).lines))


def changing_price(from_at: datetime, to_at: datetime, energy_wh: int, *, estimated: bool = False) -> int:
    """Nano-fen at 0.50 a kWh, and at 0.60 from 16 June."""
    tariffs = [parse.tariff({"prices": [{"yuan": price}]}) for price in ("0.50", "0.60")]
    change = datetime.fromisoformat(given("op-price-change")["change"]).replace(tzinfo=CIVIL)
    terms = [Term(instant(date(2026, 1, 1)), 0, tariffs[0]), Term(change, 1, tariffs[1])]
    slices = split(from_at=from_at, to_at=to_at, energy_wh=energy_wh, terms=terms, special_days={}).slices
    lines = [
        line
        for version in (0, 1)
        for line in charge(
            tariff=tariffs[version], slices=[one for one in slices if one.version == version], used_wh={}
        ).lines
    ]
    assert all(line.estimated for line in lines) or not estimated
    return sum(line.total_nano_fen for line in lines)


def given(name: str) -> Any:
    return CASES[name]["input"]


def yuan(nano_fen: int) -> str:
    return f"{units.to_fen(nano_fen) / 100:.2f}"
