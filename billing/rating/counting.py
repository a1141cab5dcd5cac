"""What a room's draws used since their days were last closed, and what it costs: pure, around the tariff engine.

All meters of a household fill its tiers together, so the energy of all draws of a room is taken in order of time (at
the same time: by installation), each slice by the tariff of its own installation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from billing.rating.chain import Span
from billing.tariff import split as splitting
from billing.tariff.calendar import SpecialDays
from billing.tariff.civil import civil_date
from billing.tariff.periods import PERIODS, Period
from billing.tariff.price import ChargeLine, charge
from billing.tariff.split import Slice, Term
from billing.tariff.tiers import Household
from billing.tariff.version import Tariff

# Which count of tiers a slice belongs to: a tariff's, of a tenancy where it restarts with it, else of the room.
Counter = tuple[int, int | None]


@dataclass(frozen=True, slots=True)
class Priced:
    """One slice of a draw's energy and its lines."""

    draw_id: int
    slice: Slice
    lines: tuple[ChargeLine, ...]

    @property
    def nano_fen(self) -> int:
        return sum(line.total_nano_fen for line in self.lines)


@dataclass(frozen=True, slots=True)
class Used:
    """A slice that is to be priced: whose it is, under which tariff, of which household, in which count."""

    draw_id: int
    installation_id: int
    slice: Slice
    tariff: Tariff
    household: Household
    counter: Counter


@dataclass(slots=True)
class Counts:
    """Wh used so far by counter and cycle; `before` is asked for what was used in a cycle before the first slice."""

    before: Callable[[Used, date], int]
    used_wh: dict[Counter, dict[date, int]] = field(default_factory=dict)

    def of(self, used: Used) -> Mapping[date, int]:
        counts = self.used_wh.setdefault(used.counter, {})
        window = used.tariff.window(civil_date(used.slice.from_at), used.household)
        if window and window.start_date not in counts:
            counts[window.start_date] = self.before(used, window.counted_from_date)
        return counts


def slices(
    spans: Iterable[Span],
    *,
    terms: Sequence[Term],
    special_days: SpecialDays,
    cuts: Sequence[datetime],
    odd: list[Span] | None = None,
) -> Iterator[Slice]:
    """The energy of an installation's spans, cut at every instant where its price, its day or its payer may change.

    Spans whose period registers cannot belong to the total, so that time alone has decided, are appended to `odd`.
    """
    for span in spans:
        found = splitting.split(
            from_at=span.a.at,
            to_at=span.b.at,
            energy_wh=span.energy_wh,
            terms=terms,
            special_days=special_days,
            cuts=cuts,
            registers_wh=registers_wh(span),
            ratio=_ratio(span),
        )
        if found.implausible and odd is not None:
            odd.append(span)
        yield from found.slices


def registers_wh(span: Span) -> dict[Period, int] | None:
    """What the meter's own period registers counted in a span, the ratio in it; None where they do not tell."""
    before, after = span.a.period_wh, span.b.period_wh
    total_wh = span.b.wh - span.a.wh
    if before is None or after is None or len(before) != len(after) or span.is_rebased or total_wh <= 0:
        return None
    return {period: (b - a) * _ratio(span) for period, a, b in zip(PERIODS, before, after, strict=False)}


def _ratio(span: Span) -> int:
    """Of the current transformer: what was used for what the register moved on."""
    moved_wh = span.b.wh - span.a.wh
    return max(1, span.energy_wh // moved_wh) if moved_wh > 0 else 1


def price(used: Iterable[Used], counts: Counts) -> list[Priced]:
    """All slices in order of time, and of installation at the same time."""
    priced: list[Priced] = []
    for one in sorted(used, key=lambda one: (*splitting.order(one.slice), one.installation_id)):
        charged = charge(tariff=one.tariff, slices=[one.slice], used_wh=counts.of(one), household=one.household)
        counts.used_wh[one.counter] = dict(charged.used_wh)
        priced.append(Priced(one.draw_id, one.slice, charged.lines))
    return priced
