"""The energy between two readings, cut in time: at midnights, period boundaries, new versions and given instants.

Energy is taken to flow evenly between two readings. A slice gets the difference of the floors of the running total at
its two ends, so slices always add up to the energy, and what is cut once more adds up to what it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import accumulate, pairwise
from typing import Final, Literal

from billing.tariff.calendar import SpecialDays
from billing.tariff.civil import civil_date, instant
from billing.tariff.periods import PERIODS, Period
from billing.tariff.units import share
from billing.tariff.version import Tariff

MICROSECOND: Final = timedelta(microseconds=1)
# Registers count in hundredths of a kWh (DL/T 645: XXXXXX.XX kWh), so each difference may be off by almost one step.
REGISTER_STEP_WH: Final = 10

Basis = Literal["time", "registers"]


@dataclass(frozen=True, slots=True)
class Term:
    """A tariff version in force from an instant until the next term's. `version` is the caller's own key for it."""

    from_at: datetime
    version: int
    tariff: Tariff


@dataclass(frozen=True, slots=True)
class Slice:
    """Energy of one price period within one civil date under one version. `estimated`: cut by time, not read."""

    from_at: datetime
    to_at: datetime
    period: Period
    energy_wh: int
    version: int
    estimated: bool


@dataclass(frozen=True, slots=True)
class Split:
    """Slices in order of time that add up to the energy, and how the meter's own registers compare.

    `basis` says what decided between periods. `discrepancy_wh` is, per period, what the register counted more than the
    split in time would have given it; `unexplained_wh` is the total less the sum of the registers. Both are empty or 0
    without registers. `implausible`: the registers were not used, since they cannot belong to this total.
    """

    slices: tuple[Slice, ...]
    basis: Basis
    discrepancy_wh: Mapping[Period, int] = field(default_factory=dict)
    unexplained_wh: int = 0
    implausible: bool = False


def split(
    *,
    from_at: datetime,
    to_at: datetime,
    energy_wh: int,
    terms: Sequence[Term],
    special_days: SpecialDays,
    cuts: Sequence[datetime] = (),
    registers_wh: Mapping[Period, int] | None = None,
    ratio: int = 1,
) -> Split:
    """Cuts the energy used from from_at to to_at at every instant where its price could change.

    `terms` in order of time, the first of which holds at from_at; `cuts` are further instants (a tenancy begins), in
    any order, those outside are ignored; `registers_wh` is what the meter's own period registers counted meanwhile, and
    `ratio` that of the current transformer, which is in it and in `energy_wh` already.

    The total register decides how much there is, the period registers in which proportion it falls upon the periods:
    they step by 10 Wh each (times the ratio), so their sum may differ from the total by one step for each of them and
    one for the total. Beyond that (a register that was reset, periods wired otherwise) they are not believed: time
    alone decides, and `implausible` tells the caller to have somebody look. Energy of a period that by our clock did
    not occur at all (the meter's clock is off) is charged at the period's price, spread over the days that have one;
    if none has, that is implausible. Where all tariffs know one period only, registers are not looked at.

    Raises ValueError for negative energy, energy without time, an interval that ends before it begins, or terms that do
    not cover it.
    """
    _refuse_nonsense(from_at, to_at, energy_wh, terms)
    pieces = _by_time(tuple(_pieces(from_at, to_at, terms, cuts, special_days)), energy_wh)
    if not registers_wh or all(len(term.tariff.schedule.periods) == 1 for term in terms):
        return Split(pieces, "time")
    discrepancy_wh = {period: registers_wh.get(period, 0) - _total_wh(pieces, period) for period in PERIODS}
    unexplained_wh = energy_wh - sum(registers_wh.values())
    places = {period: _places(pieces, period, terms) for period in PERIODS}
    implausible = (
        abs(unexplained_wh) > REGISTER_STEP_WH * ratio * (len(registers_wh) + 1)
        or min(registers_wh.values()) < 0
        or any(not places[period] for period, wh in registers_wh.items() if wh)
    )
    if implausible or sum(registers_wh.values()) == 0:
        return Split(pieces, "time", discrepancy_wh, unexplained_wh, implausible=implausible)
    parts_wh = _proportioned(registers_wh, energy_wh)
    slices = [one for period, wh in parts_wh.items() for one in _by_time(places[period], wh)]
    return Split(tuple(sorted(slices, key=order)), "registers", discrepancy_wh, unexplained_wh)


def _refuse_nonsense(from_at: datetime, to_at: datetime, energy_wh: int, terms: Sequence[Term]) -> None:
    if energy_wh < 0:
        raise ValueError("energy cannot be negative")
    if to_at < from_at or (to_at == from_at and energy_wh):
        raise ValueError("energy needs time to be used")
    if not terms or terms[0].from_at > from_at:
        raise ValueError("no tariff version holds when the interval begins")
    if any(later.from_at <= earlier.from_at for earlier, later in pairwise(terms)):
        raise ValueError("tariff versions are not in order")


def _pieces(
    from_at: datetime, to_at: datetime, terms: Sequence[Term], cuts: Sequence[datetime], special_days: SpecialDays
) -> Iterator[Slice]:
    """Slices without energy yet, in order, each within one civil date, one version, one period and between two cuts."""
    edges = {from_at, to_at, *_midnights(from_at, to_at), *cuts, *(term.from_at for term in terms)}
    for start_at, end_at in pairwise(sorted(edge for edge in edges if from_at <= edge <= to_at)):
        term = next(term for term in reversed(terms) if term.from_at <= start_at)
        on = civil_date(start_at)
        for span in term.tariff.schedule.spans(on, special_days):
            begin_at = max(start_at, instant(on, minute=span.start_minute))
            finish_at = min(end_at, instant(on, minute=span.end_minute))
            if begin_at < finish_at:
                yield Slice(begin_at, finish_at, span.period, 0, term.version, estimated=False)


def _midnights(from_at: datetime, to_at: datetime) -> Iterator[datetime]:
    first, last = civil_date(from_at), civil_date(to_at)
    return (instant(first + timedelta(days=day)) for day in range(1, (last - first).days + 1))


def _by_time(pieces: Sequence[Slice], energy_wh: int) -> tuple[Slice, ...]:
    """Energy spread evenly over the time of the pieces taken together."""
    ends = list(accumulate(((piece.to_at - piece.from_at) // MICROSECOND for piece in pieces), initial=0))
    totals_wh = [share(energy_wh, part=end, of=ends[-1] or 1) for end in ends]
    return tuple(
        replace(piece, energy_wh=high - low, estimated=len(pieces) > 1)
        for piece, (low, high) in zip(pieces, pairwise(totals_wh), strict=True)
    )


def _places(pieces: Sequence[Slice], period: Period, terms: Sequence[Term]) -> list[Slice]:
    """Where energy of a period goes: to its own slices; without any, to all on whose day the period has a price."""
    own = [piece for piece in pieces if piece.period == period]
    tariffs = {term.version: term.tariff for term in terms}
    return own or [
        replace(piece, period=period)
        for piece in pieces
        if (1, period) in tariffs[piece.version].prices.season(civil_date(piece.from_at)).cells
    ]


def _proportioned(registers_wh: Mapping[Period, int], energy_wh: int) -> dict[Period, int]:
    """The total, shared out as the registers are, by the floor of the running total in the order of PERIODS."""
    counted = [(period, registers_wh.get(period, 0)) for period in PERIODS]
    sums = list(accumulate((wh for _period, wh in counted), initial=0))
    totals_wh = [share(energy_wh, part=so_far, of=sums[-1]) for so_far in sums]
    return {period: high - low for (period, _wh), (low, high) in zip(counted, pairwise(totals_wh), strict=True)}


def order(one: Slice) -> tuple[datetime, datetime, int]:
    """In time; what lies at the same time (registers against the clock), in the order of PERIODS."""
    return one.from_at, one.to_at, PERIODS.index(one.period)


def _total_wh(slices: Sequence[Slice], period: Period) -> int:
    return sum(one.energy_wh for one in slices if one.period == period)
