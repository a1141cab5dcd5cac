"""What a reading decides: the two intervals that touch it, the days they lie on, and what they cost by the engine.

A later interval is a difference of later registers, so a wrong reading changes nothing beyond the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from billing.disputes import UNTIL_READ
from billing.models import Draw
from billing.rating import chain, room
from billing.rating.chain import Point, Span
from billing.rating.room import Rated
from billing.tariff.civil import civil_date


class NotCountedError(Exception):
    """No reading of this instant is counted in the draw's chain: there is none, it is in doubt, or was ruled out."""


@dataclass(frozen=True, slots=True)
class Stake:
    """The readings around one that is counted (`after` is None while none follows), the first and last day of the
    intervals between them that are the draw's, and its cost of these in nano-fen."""

    before: Point
    reading: Point
    after: Point | None
    from_date: date
    to_date: date
    cost_nano: int


def of(draw: Draw, read_at: datetime, *, now: datetime) -> Stake:
    """Folds and prices the room anew from the day of the reading before on; closed days are not touched.

    Raises NotCountedError, room.NoTariffError, and what the tariff engine raises.
    """
    since_date = civil_date(read_at)
    while True:
        found = room.seen(_as_if_open(draw.room_id, since_date), now=now)
        spans = _around(found, draw.installation_id, read_at)
        first_date = civil_date(spans[0].a.at)
        if first_date >= since_date:
            return _stake(found, draw, spans)
        since_date = first_date


def _as_if_open(room_id: int, since_date: date) -> list[Draw]:
    """The room's draws, in memory alone, with their days open from since_date on."""
    rows = Draw.objects.select_related("tenancy", "version").filter(room=room_id)
    draws = list(rows.order_by("installation", "starts_at"))
    for draw in draws:
        draw.closed_until = min(draw.closed_until, since_date)
    return draws


def _around(found: Rated, installation_id: int, read_at: datetime) -> Sequence[Span]:
    spans = next((one.folded.spans for one in found.hanging if one.installation.pk == installation_id), ())
    first = next((nth for nth, span in enumerate(spans) if span.b.at == read_at), None)
    if first is None:
        raise NotCountedError(f"no reading of {read_at} is counted")
    return spans[first : first + 2]


def _stake(found: Rated, draw: Draw, spans: Sequence[Span]) -> Stake:
    start_at, end_at = spans[0].a.at, spans[-1].b.at
    own = (part for part in found.priced if part.draw_id == draw.pk and start_at <= part.slice.from_at < end_at)
    return Stake(
        before=spans[0].a,
        reading=spans[0].b,
        after=spans[1].b if len(spans) > 1 else None,
        from_date=civil_date(max(start_at, draw.starts_at)),
        to_date=_last_date(draw, end_at) if len(spans) > 1 else _last_date(draw, None),
        cost_nano=sum(part.nano_fen for part in own),
    )


def _last_date(draw: Draw, end_at: datetime | None) -> date:
    ends = [at for at in (end_at, draw.ends_at) if at]
    return civil_date(min(ends) - timedelta(microseconds=1)) if ends else UNTIL_READ


def fits(stake: Stake, reading: Point, *, rule: chain.Rule) -> bool:
    """Whether another reading in the place of the disputed one would follow the one before and lead to the next."""
    follows = chain.fits(stake.before, reading, rule=rule) is not None
    return follows and (stake.after is None or chain.fits(reading, stake.after, rule=rule) is not None)
