"""Days that are not closed yet, as they stand now: computed for whoever asks, by the engine that will close them.

Nothing is held or written. What is still open may turn out otherwise: a late reading, a doubt, the rest of the day.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta

from billing.models import Draw, UsageDay
from billing.rating import keeping, room
from billing.rating.chain import Point
from billing.rating.counting import Priced
from billing.rating.keeping import Closed
from billing.rating.room import Rated
from billing.tariff.civil import civil_date, instant

DAY = timedelta(days=1)


def open_days(*, room_id: int, from_date: date, to_date: date, now: datetime) -> list[UsageDay]:
    """The days of a room's draws that are open, from from_date to to_date (in it), not saved; `draw` is set.

    A day that no reading reaches is not among them, and of the last one only what was read. Raises NoTariffError where
    no price is known.
    """
    draws = list(
        Draw.objects.select_related("tenancy", "version", "meter")
        .filter(room=room_id)
        .order_by("installation", "starts_at")
    )
    if not draws:
        return []
    found = room.seen(draws, now=now)
    return [row for row in _rows(found) if from_date <= row.usage_date <= to_date]


def _rows(found: Rated) -> Iterator[UsageDay]:
    for one in found.hanging:
        points = [span.a for span in one.folded.spans[:1]] + [span.b for span in one.folded.spans]
        for draw in found.room.draws:
            if draw.installation_id == one.installation.pk and points:
                for day in _of(found, draw, points):
                    row = keeping.as_row(draw, day)
                    row.draw = draw
                    yield row


def _of(found: Rated, draw: Draw, points: list[Point]) -> Iterator[Closed]:
    parts: dict[date, list[Priced]] = {}
    for part in found.priced:
        if part.draw_id == draw.pk:
            parts.setdefault(civil_date(part.slice.from_at), []).append(part)
    on, read_until = draw.closed_until, min(points[-1].at, draw.ends_at or points[-1].at)
    while instant(on) < read_until:
        opens = max((p for p in points if p.at <= max(instant(on), points[0].at)), key=lambda p: p.at)
        closes = next((p for p in points if p.at >= min(instant(on + DAY), read_until)), points[-1])
        yield Closed(draw.pk, on, opens, closes, 0, tuple(parts.get(on, ())))
        on += DAY
