"""One version of a tariff: all that a price depends on, besides the household and what it has used."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from billing.tariff import table
from billing.tariff.periods import ALWAYS_FLAT, Schedule
from billing.tariff.table import PriceTable
from billing.tariff.tiers import NOBODY_SPECIAL, Household, Ladder, Window


@dataclass(frozen=True, slots=True)
class Tariff:
    """Prices by tier and period, when which period holds, how tiers are counted, and the service fee.

    The fee is micro-fen per kWh, the same for all energy, charged and shown apart. Raises DefinitionError where prices
    do not fit tiers and periods. Provisional or final, named or not, from which day: that is kept beside it.
    """

    prices: PriceTable
    schedule: Schedule = ALWAYS_FLAT
    ladder: Ladder | None = None
    fee_micro_fen_per_kwh: int = 0

    def __post_init__(self) -> None:
        table.check(self.prices, schedule=self.schedule, tiers=self.tiers)

    @property
    def tiers(self) -> int:
        return self.ladder.tiers if self.ladder else 1

    def window(self, on: date, household: Household = NOBODY_SPECIAL) -> Window | None:
        """The cycle that a civil date belongs to, with its limits; None where energy is not counted: all of tier 1.

        What a caller sums as "used before": this household's energy from counted_from_date up to the reading.
        """
        return self.ladder.window(on, household) if self.ladder else None
