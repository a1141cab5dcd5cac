"""Prices: a full table of tier x period for each season. One price, and one surcharge a tier, are its simple cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from billing.tariff import when
from billing.tariff.errors import DefinitionError, _
from billing.tariff.periods import PERIODS, Period, Schedule
from billing.tariff.when import When

# Micro-fen per kWh of each period of one tier, in the order of PERIODS.
Row = tuple[tuple[Period, int], ...]


def row(prices: Mapping[Period, int]) -> Row:
    return tuple((period, prices[period]) for period in PERIODS if period in prices)


def surcharged(first: Mapping[Period, int], surcharges: Sequence[int]) -> tuple[Row, ...]:
    """The rows of a tariff whose higher tiers cost so much more than the first, whatever the period."""
    return tuple(row({period: price + more for period, price in first.items()}) for more in (0, *surcharges))


@dataclass(frozen=True, slots=True)
class SeasonPrices:
    """A row for each tier, from the first to the last, and the days on which these prices hold."""

    when: When
    rows: tuple[Row, ...]

    @property
    def cells(self) -> Mapping[tuple[int, Period], int]:
        """Micro-fen per kWh by (tier, period); tiers count from 1."""
        return {(tier, period): price for tier, row in enumerate(self.rows, start=1) for period, price in row}


@dataclass(frozen=True, slots=True)
class PriceTable:
    """The prices of every day. Raises DefinitionError where the seasons leave a gap or are ambiguous."""

    seasons: tuple[SeasonPrices, ...]

    def __post_init__(self) -> None:
        when.check([season.when for season in self.seasons], "prices")

    def season(self, on: date) -> SeasonPrices:
        """The prices of a civil date."""
        whens = [season.when for season in self.seasons]
        return self.seasons[when.chosen(whens, (on.month, on.day), when.KINDS[0])]


def check(table: PriceTable, *, schedule: Schedule, tiers: int) -> None:
    """Every period that can hold has a price in every tier, and nothing else has. Raises DefinitionError."""
    possible: dict[int, set[Period]] = {}
    for rule, season in when.together([one.when for one in schedule.rules], [one.when for one in table.seasons]):
        possible.setdefault(season, set()).update(span.period for span in schedule.rules[rule].spans)
    for index, prices in enumerate(table.seasons):
        path = f"prices[{index}].yuan"
        if len(prices.rows) != tiers:
            raise DefinitionError(
                path,
                _("The number of tiers is %(tiers)d, that of rows of prices %(rows)d."),
                tiers=tiers,
                rows=len(prices.rows),
            )
        for tier, priced in enumerate(map(dict, prices.rows), start=1):
            _refuse_missing(possible.get(index, set()), priced, tier, path)
            _refuse_unknown(schedule.periods, priced, tier, path)


def _refuse_missing(possible: set[Period], priced: Mapping[Period, int], tier: int, path: str) -> None:
    for period in PERIODS:
        if period in possible and period not in priced:
            raise DefinitionError(
                path, _("There is no price for %(period)s in tier %(tier)d."), period=period, tier=tier
            )


def _refuse_unknown(periods: frozenset[Period], priced: Mapping[Period, int], tier: int, path: str) -> None:
    for period in priced:
        if period not in periods:
            raise DefinitionError(
                path, _("There is a price for %(period)s in tier %(tier)d, but no hours."), period=period, tier=tier
            )
