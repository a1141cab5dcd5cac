"""Which price period holds at each minute of a civil day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal, get_args

from billing.tariff import when
from billing.tariff.calendar import SpecialDays, day_type
from billing.tariff.civil import DAY_MINUTES
from billing.tariff.errors import DefinitionError, _
from billing.tariff.when import When

# 尖, 峰, 平, 谷, 深谷: from the dearest to the cheapest, as a rule.
Period = Literal["sharp", "peak", "flat", "valley", "deep_valley"]
PERIODS: Final[tuple[Period, ...]] = get_args(Period)

# From a minute of the day to a minute of the day (0 to 1440); across midnight where the first is the later.
Hours = tuple[int, int]


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """From a minute of a civil day up to, not including, a later one of the same day: 0 <= start < end <= 1440."""

    start_minute: int
    end_minute: int
    period: Period


@dataclass(frozen=True, slots=True)
class DayRule:
    """The spans of a day, in order and without gaps, and the days on which they hold."""

    when: When
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Schedule:
    """The periods of every day. Raises DefinitionError where the rules leave a gap or are ambiguous."""

    rules: tuple[DayRule, ...]

    def __post_init__(self) -> None:
        when.check([rule.when for rule in self.rules], "periods")

    def spans(self, on: date, special_days: SpecialDays) -> tuple[Span, ...]:
        """The spans of a date. What crosses midnight is cut there: a day's rule ends with the day."""
        kind = when.kind_of(on, day_type(on, special_days))
        return self.rules[when.chosen([rule.when for rule in self.rules], (on.month, on.day), kind)].spans

    @property
    def needs_calendar(self) -> bool:
        """Whether a missing holiday would change the periods of a day."""
        return any(rule.when.day_types for rule in self.rules)

    @property
    def periods(self) -> frozenset[Period]:
        """All periods that ever hold."""
        return frozenset(span.period for rule in self.rules for span in rule.spans)


ALWAYS_FLAT: Final = Schedule((DayRule(When(), (Span(0, DAY_MINUTES, "flat"),)),))


def day(hours: Mapping[Period, Sequence[Hours]], *, rest: Period | None = None, path: str) -> tuple[Span, ...]:
    """A day's spans of the hours of each period; `rest` is the period of all other minutes.

    Hours across midnight ("22:00-08:00") are the last and the first hours of the same day. Raises DefinitionError that
    names the first minutes of which nothing or two things are said.
    """
    ordered = sorted(Span(start, end, period) for period, times in hours.items() for start, end in _within_day(times))
    spans: list[Span] = []
    minute = 0
    for span in [*ordered, None]:
        start = DAY_MINUTES if span is None else span.start_minute
        if start < minute and span is not None:
            raise DefinitionError(
                path,
                _("%(first)s and %(second)s both hold from %(start)s to %(end)s."),
                first=spans[-1].period,
                second=span.period,
                start=clock(start),
                end=clock(min(minute, span.end_minute)),
            )
        if start > minute:
            spans.append(Span(minute, start, _filling(rest, minute, start, path)))
        if span is not None:
            spans.append(span)
            minute = span.end_minute
    return _joined(spans)


def clock(minute: int) -> str:
    """A minute of the day as people write it: "08:00", "24:00"."""
    return f"{minute // 60:02d}:{minute % 60:02d}"


def _within_day(times: Sequence[Hours]) -> list[Hours]:
    whole = [(start, end) for start, end in times if start < end]
    crossing = [(start, end) for start, end in times if start >= end]
    return [*whole, *((start, DAY_MINUTES) for start, _end in crossing), *((0, end) for _start, end in crossing if end)]


def _filling(rest: Period | None, start: int, end: int, path: str) -> Period:
    if rest is None:
        raise DefinitionError(path, _("Nothing holds from %(start)s to %(end)s."), start=clock(start), end=clock(end))
    return rest


def _joined(spans: Sequence[Span]) -> tuple[Span, ...]:
    """Neighbours of one period as one span, so that hours written in two pieces do not cut readings in two."""
    joined: list[Span] = []
    for span in spans:
        if joined and joined[-1].period == span.period:
            joined[-1] = Span(joined[-1].start_minute, span.end_minute, span.period)
        else:
            joined.append(span)
    return tuple(joined)
