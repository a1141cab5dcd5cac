"""Tiers (阶梯): the price per kWh rises with what a household has used since a cycle began."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import accumulate, pairwise
from typing import Final, Literal

from billing.tariff import when
from billing.tariff.civil import MonthDay, months_later, placed
from billing.tariff.errors import DefinitionError, _
from billing.tariff.units import share
from billing.tariff.when import Dates, When

# A whole number of them is a year, so that every year's cycles begin on the same days.
CYCLE_MONTHS: Final = (1, 2, 3, 4, 6, 12)


@dataclass(frozen=True, slots=True)
class Household:
    """Who lives there: for the extension for many people, and for ladders that begin again with a tenancy.

    `moved_in_date` is the civil date of the tenancy's first reading; None for a room that belongs to nobody.
    """

    people: int = 1
    moved_in_date: date | None = None


NOBODY_SPECIAL: Final = Household()


@dataclass(frozen=True, slots=True)
class Cycle:
    """How long a count lasts, on which day of the year one begins, and in which part of the year there are tiers.

    A day that a month lacks is its last: cycles from the 31st begin on 30 April. With a `season`, a cycle is cut to it,
    and outside of it everything is of the first tier and is not counted.
    """

    months: int
    starts: MonthDay = (1, 1)
    season: Dates | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper limits in Wh of all tiers but the last, rising, for cycles that begin on days of `when`."""

    when: When
    limits_wh: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Extension:
    """More room for large households: (from so many people, so many Wh a month more); the largest that fits counts.

    `moves` says whether the first limit alone is raised, or all of them by the same.
    """

    moves: Literal["first", "all"]
    steps: tuple[tuple[int, int], ...]

    def wh_per_month(self, people: int) -> int:
        return max((wh for from_people, wh in self.steps if people >= from_people), default=0)


@dataclass(frozen=True, slots=True)
class Window:
    """One cycle of one household, start_date included and end_date not.

    What is used from `counted_from_date` (move-in, introduction, or the start) counts against `limits_wh`.
    """

    start_date: date
    end_date: date
    counted_from_date: date
    limits_wh: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Ladder:
    """Tiers with their cycle. Raises DefinitionError where limits leave a gap, are ambiguous, or do not fit together.

    `restarts_with_tenancy`: a new tenancy counts from zero in what is left of the cycle; otherwise the room's count
    goes on. `prorated`: a count that begins late in its cycle has its limits by the months left, the one begun
    included. `counted_from_date`: the day the tiers were introduced.
    """

    cycle: Cycle
    limits: tuple[Limits, ...]
    extension: Extension | None = None
    restarts_with_tenancy: bool = False
    prorated: bool = False
    counted_from_date: date | None = None

    def __post_init__(self) -> None:
        when.check([limits.when for limits in self.limits], "tiers.limits")
        for index, limits in enumerate(self.limits):
            if any(low >= high for low, high in pairwise((0, *limits.limits_wh))):
                raise DefinitionError(f"tiers.limits[{index}].kwh", _("Each limit must be above the one before it."))
            if len(limits.limits_wh) != len(self.limits[0].limits_wh):
                raise DefinitionError(f"tiers.limits[{index}].kwh", _("All rules must have the same number of limits."))

    @property
    def tiers(self) -> int:
        """How many tiers there are: the last one has no limit."""
        return len(self.limits[0].limits_wh) + 1

    def window(self, on: date, household: Household) -> Window | None:
        """The cycle that a day belongs to; None where there are no tiers on that day.

        Raises ValueError for a day before the household moved in, if its ladder restarts: that is another household's.
        """
        span = _cycle_span(self.cycle, on)
        if span is None or (self.counted_from_date and on < self.counted_from_date):
            return None
        start_date, end_date = span
        counted_from_date = self._counted_from(start_date, household)
        if on < counted_from_date:
            raise ValueError(f"{on} is before the household moved in on {counted_from_date}")
        return Window(start_date, end_date, counted_from_date, self._limits(span, counted_from_date, household.people))

    def _counted_from(self, start_date: date, household: Household) -> date:
        begins = [start_date, self.counted_from_date, household.moved_in_date if self.restarts_with_tenancy else None]
        return max(begin for begin in begins if begin)

    def _limits(self, span: tuple[date, date], counted_from_date: date, people: int) -> tuple[int, ...]:
        start_date, end_date = span
        rule = when.chosen([one.when for one in self.limits], (start_date.month, start_date.day), when.KINDS[0])
        months = _months_begun(start_date, end_date)
        limits_wh = _extended(self.limits[rule].limits_wh, self.extension, people=people, months=months)
        if not self.prorated:
            return limits_wh
        return tuple(
            share(limit_wh, part=_months_begun(counted_from_date, end_date), of=months) for limit_wh in limits_wh
        )


def by_tier(*, used_wh: int, energy_wh: int, limits_wh: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """(tier, Wh) in order for energy used after used_wh of the cycle; tiers count from 1. A limit itself is below it.

    Without energy there is no part. Raises ValueError for negative energy or use.
    """
    if used_wh < 0 or energy_wh < 0:
        raise ValueError("energy cannot be negative")
    total_wh = used_wh + energy_wh
    edges = [0, *limits_wh, max(total_wh, *limits_wh, 0)]
    parts = [
        (tier, min(high, total_wh) - max(low, used_wh)) for tier, (low, high) in enumerate(pairwise(edges), start=1)
    ]
    return tuple((tier, part_wh) for tier, part_wh in parts if part_wh > 0)


def _extended(limits_wh: tuple[int, ...], extension: Extension | None, *, people: int, months: int) -> tuple[int, ...]:
    if extension is None or not limits_wh:
        return limits_wh
    more_wh = months * extension.wh_per_month(people)
    if extension.moves == "all":
        return tuple(limit_wh + more_wh for limit_wh in limits_wh)
    # A first limit that was raised above the second leaves the second tier empty.
    return tuple(accumulate((limits_wh[0] + more_wh, *limits_wh[1:]), max))


def _cycle_span(cycle: Cycle, on: date) -> tuple[date, date] | None:
    """First day of the cycle of a date and of the next one, cut to the season; None outside of it."""
    steps = range(-12 // cycle.months, 12 // cycle.months + 2)
    begins = [months_later(on.year, cycle.starts, step * cycle.months) for step in steps]
    start_date, end_date = next((first, then) for first, then in pairwise(begins) if first <= on < then)
    if cycle.season is None:
        return start_date, end_date
    if (on.month, on.day) not in cycle.season:
        return None
    first_date, after_date = _season_span(cycle.season, on)
    return max(start_date, first_date), min(end_date, after_date)


def _season_span(season: Dates, on: date) -> tuple[date, date]:
    """First day of the season around a date that lies in it, and the day after its last."""
    first_date = next(begin for year in (on.year, on.year - 1) if (begin := placed(year, season.first)) <= on)
    last_date = next(end for year in (on.year, on.year + 1) if (end := placed(year, season.last)) >= on)
    return first_date, last_date + timedelta(days=1)


def _months_begun(from_date: date, end_date: date) -> int:
    """How many months up to end_date, counted back from it, the time since from_date begins: half a month is one."""
    end = (end_date.month, end_date.day)
    return next(n for n in range(13) if months_later(end_date.year, end, -n) <= from_date)
