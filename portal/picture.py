"""Pictures of a day's prices and of what was used, as SVG without style or script of its own (the CSP forbids both).

Colour is never alone in saying something: heights, hatching and words say it too, and a title says it to who hears the
page. Colours stand in attributes, for a picture that is shown by itself; the style sheet of a page overrules them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from billing.tariff import units
from billing.tariff_words import PERIODS
from portal.prices import Slot
from portal.usage import Sum

WIDTH: Final = 360
HEIGHT: Final = 140
FOOT: Final = 20  # for the hours below
HEAD: Final = 28  # for two lines of words above
WIDE_ENOUGH: Final = 34  # for a word above a bar
ROOM: Final = HEIGHT - FOOT - HEAD
CHEAP_FIRST: Final = ("deep_valley", "valley", "flat", "peak", "sharp")
COLOURS: Final = {
    "sharp": "#a3160f", "peak": "#b4510c", "flat": "#0b5cad", "valley": "#11692e", "deep_valley": "#0d5449",
}  # fmt: skip
# How far apart the lines are that lie across a bar, and those that stand in it; 0: there are none.
HATCHING: Final = {"sharp": (6, 6), "peak": (0, 4), "flat": (0, 0), "valley": (8, 0), "deep_valley": (4, 0)}


def of_a_day(slots: Sequence[Slot], *, now: datetime) -> SafeString:
    """Today's price over its 24 hours, by the first tier and with the service fee; a line where the day is now."""
    if not slots:
        return SafeString("")
    began, ended = slots[0].from_at, slots[-1].to_at
    dearest = max(slot.prices[0] + slot.fee for slot in slots) or 1

    def x(at: datetime) -> float:
        return WIDTH * (at - began).total_seconds() / (ended - began).total_seconds()

    parts, words, told = [], [], []
    for slot in slots:
        price, left, width = slot.prices[0] + slot.fee, x(slot.from_at), x(slot.to_at) - x(slot.from_at)
        name = str(PERIODS[slot.period])  # type: ignore[index]  # the engine wrote it
        told.append(f"{localtime(slot.from_at):%H:%M}–{_until(slot.to_at)} {name} {_per_kwh(price)}")
        height = max(4.0, ROOM * price / dearest)
        parts.append(_bar(left, width, height, period=slot.period, told=told[-1]))
        if width >= WIDE_ENOUGH:
            top, middle = HEIGHT - FOOT - height, left + width / 2
            words.append(_word(middle, name, y=top - 15, anchor="middle"))
            words.append(_word(middle, _short(price), y=top - 4, anchor="middle"))
    if began <= now < ended:
        at = x(now)
        parts.append(f'<line class="now" x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{HEIGHT - FOOT}" stroke="#16191d"/>')
    parts += [*words, *(_word(WIDTH * hour / 24, f"{hour:02d}:00") for hour in (0, 6, 12, 18))]
    return _svg(_("Price of a kilowatt-hour over today"), parts, told="; ".join(told))


def of_no_day() -> SafeString:
    """Where no price is known."""
    said = _("No price is known here yet.")
    return _svg(_("Price of a kilowatt-hour over today"), [_word(WIDTH / 2, said, y=HEIGHT / 2, anchor="middle")])


def of_use(sums: Sequence[Sum], *, label: Callable[[Sum], str]) -> SafeString:
    """A bar for each sum, stacked by price period, the cheapest at the bottom; by the hour in one piece, with a mark
    below the hours at the lowest price of their day."""
    most = max(sums, key=lambda one: one.energy_wh, default=None)
    if most is None or not most.energy_wh:
        return SafeString("")
    step = WIDTH / len(sums)
    parts, last_word = [], -WIDTH
    for n, one in enumerate(sums):
        left, over = n * step, 0.0
        for period, energy_wh in _stacked(one):
            height = ROOM * energy_wh / most.energy_wh
            told = f"{label(one)} {_period(period)}{_kwh(energy_wh)}{_cheap(one)}"
            parts.append(_bar(left + step * 0.08, step * 0.84, height, period=period, told=told, over=over))
            over += height
        if one.is_cheap:
            parts.append(_mark(left + step / 2))
        if left - last_word >= WIDE_ENOUGH:
            parts.append(_word(left, label(one)))
            last_word = int(left)
    in_all = _("%(energy)s in all; most: %(label)s with %(most)s") % {
        "energy": _kwh(sum(one.energy_wh for one in sums)),
        "label": label(most),
        "most": _kwh(most.energy_wh),
    }
    return _svg(_("Electricity used, in kilowatt-hours"), parts, told=in_all)


def _stacked(one: Sum) -> list[tuple[str, int]]:
    used = one.by("period")
    known = [(period, used[period][0]) for period in CHEAP_FIRST if period in used]
    return known or [(one.period or "flat", one.energy_wh)]


def _period(period: str) -> str:
    return f"{PERIODS[period]} "  # type: ignore[index]  # the engine wrote it


def _per_kwh(price: int) -> str:
    return _("%(yuan)s yuan per kWh") % {"yuan": units.yuan(price)}


def _short(price: int) -> str:
    """Yuan to the tenth of a fen, for a word above a bar: exactly it is told beside it."""
    return f"¥{price / units.MICRO_FEN_PER_YUAN:.3f}".removesuffix("0")


def _kwh(energy_wh: int) -> str:
    return f"{energy_wh / 1000:.1f} kWh"


def _cheap(one: Sum) -> str:
    return " · " + _("lowest price of the day") if one.is_cheap else ""


def _until(at: datetime) -> str:
    """The end of a day is 24:00."""
    return f"{localtime(at):%H:%M}".replace("00:00", "24:00")


def _bar(left: float, width: float, height: float, *, period: str, told: str, over: float = 0.0) -> str:
    top = HEIGHT - FOOT - over - height
    return (
        f'<rect class="{escape(period)}" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}"'
        f' fill="{COLOURS[period]}"><title>{escape(told)}</title></rect>{_hatched(left, top, width, height, period)}'
    )


def _hatched(left: float, top: float, width: float, height: float, period: str) -> str:
    """Lines over a bar, so that periods are told apart without colour."""
    across, upright = HATCHING[period]
    lines = [f"M{left:.1f} {top + y:.1f}h{width:.1f}" for y in range(across, int(height) + 1, across or 1) if across]
    lines += [
        f"M{left + x:.1f} {top:.1f}v{height:.1f}" for x in range(upright, int(width) + 1, upright or 1) if upright
    ]
    return f'<path class="hatch" d="{"".join(lines)}" stroke="#fff" stroke-opacity=".45"/>' if lines else ""


def _mark(middle: float) -> str:
    """A triangle below the axis."""
    foot = HEIGHT - FOOT + 1
    return f'<path class="cheap" d="M{middle:.1f} {foot}l3 5h-6z" fill="{COLOURS["valley"]}"/>'


def _word(left: float, word: str, *, y: float = HEIGHT - 3, anchor: str = "start") -> str:
    return f'<text x="{left:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(word)}</text>'


def _svg(title: str, parts: Sequence[str], *, told: str = "") -> SafeString:
    """`told` says what the picture shows to who does not see it."""
    foot, said = HEIGHT - FOOT, f"<desc>{escape(told)}</desc>" if told else ""
    return mark_safe(  # noqa: S308 (numbers, and texts that were escaped)
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        f' aria-label="{escape(title)}" font-family="sans-serif" font-size="11"><title>{escape(title)}</title>{said}'
        f'<rect class="ground" width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>{"".join(parts)}'
        f'<line class="axis" x1="0" x2="{WIDTH}" y1="{foot}" y2="{foot}" stroke="#52585f"/></svg>'
    )
