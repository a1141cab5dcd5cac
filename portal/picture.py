"""Pictures of a day's prices and of what was used, as SVG without style or script of its own (the CSP forbids both).

Colour is never alone in saying something: heights and words say it too, and a title says it to who hears the page.
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
HEAD: Final = 16  # for the words above
WIDE_ENOUGH: Final = 34  # for a word within or above a bar
ROOM: Final = HEIGHT - FOOT - HEAD
CHEAP_FIRST: Final = ("deep_valley", "valley", "flat", "peak", "sharp")


def of_a_day(slots: Sequence[Slot], *, now: datetime) -> SafeString:
    """Today's price over its 24 hours, by the first tier and with the service fee; a line where the day is now."""
    if not slots:
        return SafeString("")
    began, ended = slots[0].from_at, slots[-1].to_at
    dearest = max(slot.prices[0] + slot.fee for slot in slots) or 1

    def x(at: datetime) -> float:
        return WIDTH * (at - began).total_seconds() / (ended - began).total_seconds()

    parts = []
    for slot in slots:
        price, left, width = slot.prices[0] + slot.fee, x(slot.from_at), x(slot.to_at) - x(slot.from_at)
        height = max(4.0, ROOM * price / dearest)
        name = str(PERIODS[slot.period])  # type: ignore[index]  # the engine wrote it
        told = f"{localtime(slot.from_at):%H:%M}–{localtime(slot.to_at):%H:%M} {name} {_per_kwh(price)}"
        parts.append(_bar(left, width, height, period=slot.period, told=told, word=name))
    parts += [_word(x_at, f"{hour:02d}:00") for hour, x_at in ((h, WIDTH * h / 24) for h in (0, 6, 12, 18))]
    if began <= now < ended:
        at = x(now)
        parts.append(f'<line class="now" x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{HEIGHT - FOOT}"/>')
    return _svg(_("Price of a kilowatt-hour over today"), parts)


def of_use(sums: Sequence[Sum], *, label: Callable[[Sum], str]) -> SafeString:
    """A bar for each sum, stacked by price period, the cheapest at the bottom; by the hour in one piece."""
    most = max((one.energy_wh for one in sums), default=0)
    if not most:
        return SafeString("")
    step = WIDTH / len(sums)
    parts, last_word = [], -WIDTH
    for n, one in enumerate(sums):
        left, top = n * step, 0.0
        for period, energy_wh in _stacked(one):
            height = ROOM * energy_wh / most
            told = f"{label(one)} {_period(period)}{energy_wh / 1000:.1f} kWh"
            parts.append(_bar(left + step * 0.08, step * 0.84, height, period=period, told=told, over=top))
            top += height
        if left - last_word >= WIDE_ENOUGH:
            parts.append(_word(left, label(one)))
            last_word = int(left)
    return _svg(_("Electricity used, in kilowatt-hours"), parts)


def _stacked(one: Sum) -> list[tuple[str, int]]:
    used = one.by("period")
    known = [(period, used[period][0]) for period in CHEAP_FIRST if period in used]
    return known or [(one.period or "flat", one.energy_wh)]


def _period(period: str) -> str:
    return f"{PERIODS[period]} "  # type: ignore[index]  # the engine wrote it


def _per_kwh(price: int) -> str:
    return _("%(yuan)s yuan per kWh") % {"yuan": units.yuan(price)}


def _bar(left: float, width: float, height: float, *, period: str, told: str, word: str = "", over: float = 0.0) -> str:
    top = HEIGHT - FOOT - over - height
    drawn = (
        f'<rect class="{escape(period)}" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}">'
        f"<title>{escape(told)}</title></rect>"
    )
    if word and width >= WIDE_ENOUGH:
        drawn += f'<text x="{left + width / 2:.1f}" y="{top - 4:.1f}" text-anchor="middle">{escape(word)}</text>'
    return drawn


def _word(left: float, word: str) -> str:
    return f'<text x="{left:.1f}" y="{HEIGHT - 5}">{escape(word)}</text>'


def _svg(title: str, parts: Sequence[str]) -> SafeString:
    foot = HEIGHT - FOOT
    return mark_safe(  # noqa: S308 (numbers, and texts that were escaped)
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(parts)}"
        f'<line class="axis" x1="0" x2="{WIDTH}" y1="{foot}" y2="{foot}"/></svg>'
    )
