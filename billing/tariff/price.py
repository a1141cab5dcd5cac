"""Slices of energy become lines of a bill: what was used on which day, in which tier and period, and what it costs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date

from billing.tariff import split
from billing.tariff.civil import civil_date
from billing.tariff.periods import PERIODS, Period
from billing.tariff.split import Slice
from billing.tariff.tiers import NOBODY_SPECIAL, Household, Window, by_tier
from billing.tariff.version import Tariff


@dataclass(frozen=True, slots=True)
class ChargeLine:
    """Energy of one day, tier, period and version, its prices, and its exact cost: rounding comes later, and once.

    `cycle_date` is the first day of the cycle it counts in, None where nothing is counted. `estimated`: part of it was
    cut by time between two readings.
    """

    usage_date: date
    tier: int
    period: Period
    version: int
    cycle_date: date | None
    energy_wh: int
    price_micro_fen_per_kwh: int
    fee_micro_fen_per_kwh: int
    estimated: bool

    @property
    def cost_nano_fen(self) -> int:
        """For the energy, without the service fee."""
        return self.energy_wh * self.price_micro_fen_per_kwh

    @property
    def fee_nano_fen(self) -> int:
        return self.energy_wh * self.fee_micro_fen_per_kwh

    @property
    def total_nano_fen(self) -> int:
        return self.cost_nano_fen + self.fee_nano_fen


@dataclass(frozen=True, slots=True)
class Charged:
    """Lines in order of time, and what is used in each cycle after them: hand it in with the slices that follow."""

    lines: tuple[ChargeLine, ...]
    used_wh: Mapping[date, int]


def charge(
    *,
    tariff: Tariff,
    slices: Iterable[Slice],
    used_wh: Mapping[date, int],
    household: Household = NOBODY_SPECIAL,
) -> Charged:
    """Prices slices of one version, in any order: they are taken in order of time, and cut where a tier is used up.

    `used_wh` is what was used before the first slice, by the first day of the cycle (`Tariff.window(…).start_date`); a
    cycle that is not in it begins at 0. Slices of several versions are charged one version after the other, each with
    the `used_wh` that the one before left. The lines' energy adds up to the slices'.
    """
    counts = dict(used_wh)
    lines: list[ChargeLine] = []
    for one in sorted(slices, key=split.order):
        window = tariff.window(civil_date(one.from_at), household)
        used_before_wh = counts.get(window.start_date, 0) if window else 0
        lines.extend(_lines(tariff, one, window, used_before_wh))
        if window:
            counts[window.start_date] = used_before_wh + one.energy_wh
    return Charged(tuple(lines), counts)


def summed(lines: Iterable[ChargeLine]) -> tuple[ChargeLine, ...]:
    """Lines that differ in energy alone as one, by day, tier and period: what a bill shows."""
    sums: dict[ChargeLine, ChargeLine] = {}
    for line in lines:
        key = replace(line, energy_wh=0, estimated=False)
        so_far = sums.get(key, key)
        sums[key] = replace(
            line, energy_wh=so_far.energy_wh + line.energy_wh, estimated=so_far.estimated or line.estimated
        )
    return tuple(sorted(sums.values(), key=_reading_order))


def _lines(tariff: Tariff, one: Slice, window: Window | None, used_wh: int) -> Iterator[ChargeLine]:
    usage_date = civil_date(one.from_at)
    prices = tariff.prices.season(usage_date).cells
    limits_wh = window.limits_wh if window else ()
    for tier, energy_wh in by_tier(used_wh=used_wh, energy_wh=one.energy_wh, limits_wh=limits_wh):
        yield ChargeLine(
            usage_date=usage_date,
            tier=tier,
            period=one.period,
            version=one.version,
            cycle_date=window.start_date if window else None,
            energy_wh=energy_wh,
            price_micro_fen_per_kwh=prices[tier, one.period],
            fee_micro_fen_per_kwh=tariff.fee_micro_fen_per_kwh,
            estimated=one.estimated,
        )


def _reading_order(line: ChargeLine) -> tuple[date, int, int, int]:
    return line.usage_date, line.version, line.tier, PERIODS.index(line.period)
