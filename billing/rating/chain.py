"""Which readings follow one another, and what was used between them: pure functions of a set of readings.

Readings are taken in order of their instants, whenever they arrived, so the same set gives the same result. The state
is two readings: the last that was accepted, and the end of a run that is in doubt, if there is one. After an accepted
reading there is no run, so the fold may start anew from any accepted reading and finds the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

MILLISECOND: Final = timedelta(milliseconds=1)
HOUR_MS: Final = 3_600_000
# Clocks of meters are set now and then, and registers step by 10 Wh: so much more than the breaker allows is believed.
CLOCK_PLAY_MS: Final = 120_000
REGISTER_PLAY_WH: Final = 100
# A register that went from its last twentieth to its first one has rolled over.
EDGE: Final = 20

Ruling = Literal["believed", "rebased", "rejected"]
Reason = Literal["decrease", "jump"]


@dataclass(frozen=True, slots=True)
class Point:
    """What a register showed at an instant, in its own Wh (before the current transformer's ratio).

    `period_wh`: the meter's own registers of sharp, peak, flat, valley, deep valley, where it keeps them.
    """

    at: datetime
    wh: int
    period_wh: tuple[int, ...] | None = None
    source: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """What a meter can carry and show: W through the meter, the transformer's ratio, one more than its last Wh."""

    max_w: int
    ct: int
    wraps_wh: int


@dataclass(frozen=True, slots=True)
class Span:
    """From one accepted reading to the next: energy in Wh, the ratio in it.

    `rolled_over`: the register began anew in between; `is_rebased`: a person said that it did, and nothing is counted.
    """

    a: Point
    b: Point
    energy_wh: int
    rolled_over: bool = False
    is_rebased: bool = False


@dataclass(frozen=True, slots=True)
class Doubtful:
    """A reading that cannot follow. `is_open`: nothing behind it is charged; else a later reading showed it wrong."""

    point: Point
    reason: Reason
    is_open: bool


@dataclass(frozen=True, slots=True)
class Folded:
    """Spans without gaps from start to `end`; all readings in doubt; the accepted instants, where a fold may restart.

    `is_broken`: the readings after `end` are in doubt, and wait for a person or for readings that follow `end`.
    """

    spans: tuple[Span, ...]
    doubts: tuple[Doubtful, ...]
    clean: tuple[datetime, ...]
    end: Point
    is_broken: bool


def fits(a: Point, b: Point, *, rule: Rule) -> int | None:
    """Wh used from a to b, the ratio in it, if b can follow a: not less, and not more than the breaker lets through."""
    elapsed_ms = (b.at - a.at) // MILLISECOND
    register_wh = b.wh - a.wh
    if register_wh < 0 and _is_at_the_edge(a, b, rule):
        register_wh += rule.wraps_wh
    at_most_wh = rule.max_w * (elapsed_ms + CLOCK_PLAY_MS) // HOUR_MS + REGISTER_PLAY_WH
    return register_wh * rule.ct if elapsed_ms > 0 and 0 <= register_wh <= at_most_wh else None


def fold(points: Iterable[Point], *, start: Point, rulings: Mapping[datetime, Ruling], rule: Rule) -> Folded:
    """All readings after `start`, one an instant, in any order.

    A run that is in doubt is asked first: a replaced board counts on from where it began, and with time its distance
    from the last good reading looks possible. `rulings`, what staff decided, by the reading's instant: a reading that
    is believed counts whatever it shows (a register that went back has rolled over), one that is rebased begins anew,
    one that is rejected is skipped.
    """
    state = _Folding(start, rule)
    for point in sorted(points, key=lambda one: one.at):
        if point.at > start.at:
            state.take(point, rulings.get(point.at))
    return state.folded()


def _is_at_the_edge(a: Point, b: Point, rule: Rule) -> bool:
    return a.wh * EDGE > rule.wraps_wh * (EDGE - 1) and b.wh * EDGE < rule.wraps_wh


@dataclass(slots=True)
class _Folding:
    """The fold on its way: `last` is the last accepted reading, `run` the readings in doubt since."""

    last: Point
    rule: Rule
    run: list[Doubtful] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    doubts: list[Doubtful] = field(default_factory=list)

    def take(self, point: Point, ruling: Ruling | None) -> None:
        if ruling == "believed":
            self.accept(point, (point.wh - self.last.wh) % self.rule.wraps_wh * self.rule.ct)
        elif ruling == "rebased":
            self.accept(point, 0, is_rebased=True)
        elif ruling is None:
            self.judge(point)

    def judge(self, point: Point) -> None:
        energy_wh = fits(self.last, point, rule=self.rule)
        goes_on = bool(self.run) and fits(self.run[-1].point, point, rule=self.rule) is not None
        if goes_on or energy_wh is None:
            reason: Reason = "decrease" if point.wh < self.last.wh else "jump"
            self.run.append(Doubtful(point, reason, is_open=True))
        else:
            self.accept(point, energy_wh)

    def accept(self, point: Point, energy_wh: int, *, is_rebased: bool = False) -> None:
        """What lay in between was wrong: this reading follows the last accepted one without it."""
        self.doubts.extend(Doubtful(one.point, one.reason, is_open=False) for one in self.run)
        self.run.clear()
        rolled_over = point.wh < self.last.wh and not is_rebased
        self.spans.append(Span(self.last, point, energy_wh, rolled_over, is_rebased))
        self.last = point

    def folded(self) -> Folded:
        clean = tuple(span.b.at for span in self.spans)
        return Folded(tuple(self.spans), (*self.doubts, *self.run), clean, self.last, is_broken=bool(self.run))
