"""What a tenant pays per kWh against what the property itself pays: a mark-up on resold electricity is mostly illegal.

Sources: 电力法 44 and 66, 电力供应与使用条例 38, provincial rules. Whether a mark-up is allowed after all is for
staff to decide, with a reason. Here it is only found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from billing.tariff.periods import PERIODS, Period
from billing.tariff.version import Tariff


@dataclass(frozen=True, slots=True)
class Excess:
    """One cell of the price table (the season's index in the definition) that costs more than the property pays."""

    season: int
    tier: int
    period: Period
    price_micro_fen_per_kwh: int
    fee_micro_fen_per_kwh: int
    supply_micro_fen_per_kwh: int

    @property
    def over_micro_fen_per_kwh(self) -> int:
        return self.price_micro_fen_per_kwh + self.fee_micro_fen_per_kwh - self.supply_micro_fen_per_kwh


def exceeding(tariff: Tariff, *, supply_micro_fen_per_kwh: int | Mapping[Period, int]) -> tuple[Excess, ...]:
    """All cells whose price and fee together exceed the supply price, by season, tier and period.

    The supply price is one, or one for each period; a period that it does not name is held against its lowest, so that
    silence never allows more. Raises ValueError for a mapping without any price.
    """
    supply = _by_period(supply_micro_fen_per_kwh)
    cells = (
        Excess(index, tier, period, price, tariff.fee_micro_fen_per_kwh, supply[period])
        for index, season in enumerate(tariff.prices.seasons)
        for (tier, period), price in season.cells.items()
    )
    return tuple(cell for cell in cells if cell.over_micro_fen_per_kwh > 0)


def _by_period(supply: int | Mapping[Period, int]) -> dict[Period, int]:
    if isinstance(supply, int):
        return dict.fromkeys(PERIODS, supply)
    lowest = min(supply.values())
    return {period: supply.get(period, lowest) for period in PERIODS}
