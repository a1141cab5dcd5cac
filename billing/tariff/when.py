"""On which days a rule holds, and which of several rules does.

The more specific rule wins: the one whose days are all among the other's. Two rules that share days although neither
lies within the other are ambiguous, unless a third that lies within both settles these days; a day without a rule is a
gap. Both are refused when they are defined.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from itertools import combinations, product
from typing import Final, Literal, get_args

from billing.tariff.civil import YEAR, MonthDay
from billing.tariff.errors import DefinitionError, _

DayType = Literal["workday", "weekend", "holiday"]
DAY_TYPES: Final[tuple[DayType, ...]] = get_args(DayType)
Weekday = Literal["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
WEEKDAYS: Final[tuple[Weekday, ...]] = get_args(Weekday)

# What a day can be, besides its date. All pairs: staff may declare any day to be anything.
Kind = tuple[DayType, Weekday]
KINDS: Final[tuple[Kind, ...]] = tuple(product(DAY_TYPES, WEEKDAYS))


@dataclass(frozen=True, slots=True)
class Dates:
    """From a day of the year to a day of the year, both included; across the new year where the first is the later."""

    first: MonthDay
    last: MonthDay

    def __contains__(self, day: MonthDay) -> bool:
        if self.first <= self.last:
            return self.first <= day <= self.last
        return day >= self.first or day <= self.last


@dataclass(frozen=True, slots=True)
class When:
    """The days on which a rule holds: what is left empty does not matter.

    A day must satisfy all that is given: be in one of the months, in one of the ranges, of one of the types, and one of
    the weekdays. A make-up workday is a workday, on whatever weekday it falls.
    """

    months: frozenset[int] = frozenset()
    dates: tuple[Dates, ...] = ()
    day_types: frozenset[DayType] = frozenset()
    weekdays: frozenset[Weekday] = frozenset()

    def in_season(self, day: MonthDay) -> bool:
        return (not self.months or day[0] in self.months) and (not self.dates or any(day in one for one in self.dates))

    def of_kind(self, kind: Kind) -> bool:
        day_type, weekday = kind
        return (not self.day_types or day_type in self.day_types) and (not self.weekdays or weekday in self.weekdays)

    @property
    def is_seasonal(self) -> bool:
        """Whether only the date decides."""
        return not self.day_types and not self.weekdays


@lru_cache(maxsize=4096)
def season(when: When) -> frozenset[MonthDay]:
    """All days of the year in which it can hold."""
    return frozenset(day for day in YEAR if when.in_season(day))


@lru_cache(maxsize=4096)
def kinds(when: When) -> frozenset[Kind]:
    """All kinds of day on which it can hold."""
    return frozenset(kind for kind in KINDS if when.of_kind(kind))


@lru_cache(maxsize=4096)
def within(inner: When, outer: When) -> bool:
    """Whether every day of the inner one is a day of the outer one."""
    return season(inner) <= season(outer) and kinds(inner) <= kinds(outer)


def kind_of(on: date, day_type: DayType) -> Kind:
    return day_type, WEEKDAYS[on.weekday()]


def chosen(whens: Sequence[When], day: MonthDay, kind: Kind) -> int:
    """Which rule holds on such a day: the index of the most specific one. The rules have passed `check`."""
    holding = [index for index, when in enumerate(whens) if when.in_season(day) and when.of_kind(kind)]
    return next(index for index in holding if all(within(whens[index], whens[other]) for other in holding))


def together(whens: Sequence[When], others: Sequence[When]) -> set[tuple[int, int]]:
    """Which rule of one set ever holds together with which of another: pairs of indices. Both have passed `check`."""
    both = [*whens, *others]
    seasons = [season(when) for when in both]
    alike = {tuple(day in days for days in seasons): day for day in YEAR}
    return {(chosen(whens, day, kind), chosen(others, day, kind)) for day in alike.values() for kind in KINDS}


def check(whens: Sequence[When], path: str) -> None:
    """Exactly one rule holds on every day of every year, or DefinitionError names the gap or the overlap."""
    for index, when in enumerate(whens):
        if not season(when) or not kinds(when):
            raise DefinitionError(f"{path}[{index}].when", _("There is no such day."))
    _refuse_overlap(whens, path)
    _refuse_gap(whens, path)


def _refuse_overlap(whens: Sequence[When], path: str) -> None:
    for (first, one), (second, other) in combinations(enumerate(whens), 2):
        if within(one, other) != within(other, one):
            continue  # one of them is the more specific
        for kind in KINDS:
            days = _undecided(one, other, whens, kind)
            if days:
                raise DefinitionError(
                    f"{path}[{second}].when",
                    _(
                        "Rules %(first)d and %(second)d both hold on %(days)s (%(day_type)s, %(weekday)s), and neither"
                        " is the more specific one. Add a rule for these days alone, or make one rule narrower."
                    ),
                    first=first + 1,
                    second=second + 1,
                    days=first_run(days.__contains__),
                    day_type=kind[0],
                    weekday=kind[1],
                )


def _undecided(one: When, other: When, whens: Sequence[When], kind: Kind) -> frozenset[MonthDay]:
    """Days of a kind that two rules share, less those of narrower rules within both, which settle the matter there."""
    if not one.of_kind(kind) or not other.of_kind(kind):
        return frozenset()
    settling = [
        season(when)
        for when in whens
        if when.of_kind(kind) and within(when, one) and within(when, other) and not within(one, when)
    ]
    return (season(one) & season(other)).difference(*settling)


def _refuse_gap(whens: Sequence[When], path: str) -> None:
    for kind in KINDS:
        days = frozenset(YEAR).difference(*(season(when) for when in whens if when.of_kind(kind)))
        if not days:
            continue
        if all(when.is_seasonal for when in whens):
            raise DefinitionError(path, _("No rule holds on %(days)s."), days=first_run(days.__contains__))
        raise DefinitionError(
            path,
            _("No rule holds on %(days)s (%(day_type)s, %(weekday)s)."),
            days=first_run(days.__contains__),
            day_type=kind[0],
            weekday=kind[1],
        )


def first_run(wanted: Callable[[MonthDay], bool]) -> str:
    """The first run of wanted days of the year as people write it, such as "11-01 – 04-30" or "02-29"."""
    begins = [index for index, day in enumerate(YEAR) if wanted(day) and not wanted(YEAR[index - 1])]
    if not begins:
        return written(YEAR[0], YEAR[-1])
    last = begin = begins[0]
    while wanted(YEAR[(last + 1) % len(YEAR)]):
        last += 1
    return written(YEAR[begin], YEAR[last % len(YEAR)])


def written(first: MonthDay, last: MonthDay) -> str:
    days = [f"{month:02d}-{day:02d}" for month, day in ((first, last) if first != last else (first,))]
    return " – ".join(days)
