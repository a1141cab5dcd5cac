"""A `Tariff` as a definition that `parse.tariff` reads back as the same tariff: everything written out in full."""

from __future__ import annotations

from typing import TypeAlias

from billing.tariff.periods import DayRule, clock
from billing.tariff.table import SeasonPrices
from billing.tariff.tiers import Cycle, Extension, Ladder
from billing.tariff.units import kwh, yuan
from billing.tariff.version import Tariff
from billing.tariff.when import DAY_TYPES, WEEKDAYS, Dates, When

Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json]"


def definition(tariff: Tariff) -> dict[str, Json]:
    """The definition, ready for `json.dumps`. Surcharges come back as the prices that they mean."""
    said: dict[str, Json] = {
        "periods": [_day_rule(rule) for rule in tariff.schedule.rules],
        "prices": [_season_prices(season) for season in tariff.prices.seasons],
        "fee_yuan": yuan(tariff.fee_micro_fen_per_kwh),
    }
    if tariff.ladder:
        said["tiers"] = _ladder(tariff.ladder)
    return said


def _day_rule(rule: DayRule) -> Json:
    hours: dict[str, list[Json]] = {}
    for span in rule.spans:
        hours.setdefault(span.period, []).append(f"{clock(span.start_minute)}-{clock(span.end_minute)}")
    return {**_when(rule.when), "day": {**hours}}


def _season_prices(season: SeasonPrices) -> Json:
    rows: list[Json] = [{period: yuan(price) for period, price in row} for row in season.rows]
    return {**_when(season.when), "yuan": rows}


def _when(when: When) -> dict[str, Json]:
    if when == When():
        return {}
    said: dict[str, Json] = {}
    if when.months:
        said["months"] = [*sorted(when.months)]
    if when.dates:
        said["dates"] = [_dates(one) for one in when.dates]
    if when.day_types:
        said["day_types"] = [one for one in DAY_TYPES if one in when.day_types]
    if when.weekdays:
        said["weekdays"] = [one for one in WEEKDAYS if one in when.weekdays]
    return {"when": said}


def _ladder(ladder: Ladder) -> Json:
    said: dict[str, Json] = {
        "cycle": _cycle(ladder.cycle),
        "limits": [{**_when(one.when), "kwh": [_kwh(limit) for limit in one.limits_wh]} for one in ladder.limits],
        "restarts_with_tenancy": ladder.restarts_with_tenancy,
        "prorated": ladder.prorated,
    }
    if ladder.extension:
        said["extension"] = _extension(ladder.extension)
    if ladder.counted_from_date:
        said["counted_from"] = ladder.counted_from_date.isoformat()
    return said


def _cycle(cycle: Cycle) -> Json:
    said: dict[str, Json] = {"months": cycle.months, "starts": _month_day(cycle.starts)}
    if cycle.season:
        said["season"] = _dates(cycle.season)
    return said


def _extension(extension: Extension) -> Json:
    steps: list[Json] = [{"people": people, "kwh_per_month": _kwh(wh)} for people, wh in extension.steps]
    return {"moves": extension.moves, "steps": steps}


def _kwh(energy_wh: int) -> Json:
    written = kwh(energy_wh)
    return written if "." in written else int(written)


def _dates(dates: Dates) -> Json:
    return [_month_day(dates.first), _month_day(dates.last)]


def _month_day(day: tuple[int, int]) -> str:
    return f"{day[0]:02d}-{day[1]:02d}"
