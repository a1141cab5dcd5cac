"""A version of a tariff laid out over days, as flat rows that SQL can join readings with.

`slots` has a row for each stretch of one period, `limits` one for each cycle of a household. What `split` and `price`
do one interval at a time follows from the rows: cut the interval at the slots' edges, give each piece the difference of
the floors of the running total, add them up in the cycle, cut that at the limits, and take the price of tier and slot.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from billing.tariff.calendar import SpecialDays
from billing.tariff.civil import instant
from billing.tariff.periods import Period
from billing.tariff.tiers import NOBODY_SPECIAL, Household, Window
from billing.tariff.version import Tariff


@dataclass(frozen=True, slots=True)
class Slot:
    """One period on one civil date, from_at included and to_at not, with its price in every tier, the first tier first.

    `cycle_date` is the first day of the cycle that its energy counts in: the key of `CycleLimits`. None: not counted,
    all of the first tier.
    """

    usage_date: date
    from_at: datetime
    to_at: datetime
    period: Period
    cycle_date: date | None
    prices_micro_fen_per_kwh: tuple[int, ...]
    fee_micro_fen_per_kwh: int


def slots(tariff: Tariff, *, first_date: date, last_date: date, special_days: SpecialDays) -> Iterator[Slot]:
    """The slots of all days from first_date to last_date, both included, in order and without gaps."""
    for on in _days(first_date, last_date):
        window = tariff.window(on)
        cells = tariff.prices.season(on).cells
        for span in tariff.schedule.spans(on, special_days):
            yield Slot(
                usage_date=on,
                from_at=instant(on, minute=span.start_minute),
                to_at=instant(on, minute=span.end_minute),
                period=span.period,
                cycle_date=window.start_date if window else None,
                prices_micro_fen_per_kwh=tuple(cells[tier, span.period] for tier in range(1, tariff.tiers + 1)),
                fee_micro_fen_per_kwh=tariff.fee_micro_fen_per_kwh,
            )


def limits(
    tariff: Tariff, *, first_date: date, last_date: date, household: Household = NOBODY_SPECIAL
) -> Iterator[Window]:
    """The cycles of a household that touch these days, both included, in order; their `start_date` is cycle_date above.

    Days before a household moved in are left out where its count began with it.
    """
    restarts = tariff.ladder is not None and tariff.ladder.restarts_with_tenancy
    begin_date = max(first_date, (household.moved_in_date if restarts else None) or first_date)
    seen: Window | None = None
    for on in _days(begin_date, last_date):
        window = tariff.window(on, household)
        if window and window != seen:
            seen = window
            yield window


def _days(first_date: date, last_date: date) -> Iterator[date]:
    return (first_date + timedelta(days=day) for day in range((last_date - first_date).days + 1))
