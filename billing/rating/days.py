"""Civil days are closed: what a room used on each, priced by the engine from its readings, is kept and its money moves.

A day is closed when the chain of every meter of its room has passed its midnight and nothing before that waits in the
backlog. Nothing is estimated: a silent meter's days stay open. Rooms are computed without locks; what changed meanwhile
is left to the next round.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Final

from django.db import OperationalError, connection, transaction
from django.db.models import Sum

from billing import bill_news, disputes
from billing.models import Backlog, Draw, Purse, UsageDay
from billing.rating import careful, keeping, room
from billing.rating.chain import Point
from billing.rating.counting import Priced
from billing.rating.keeping import Closed
from billing.rating.room import Hanging, Rated
from billing.tariff.civil import civil_date, instant
from notifications import worklist

log = logging.getLogger(__name__)

ODD: Final = "registers_differ"  # a kind of work item
DAY: Final = timedelta(days=1)
MICROSECOND: Final = timedelta(microseconds=1)

# Plan: draws_to_close and draws_ended_to_close, then each room's own draws by index; a room with several meters comes
# once. Who waits for something is left out, or a few of them would stand before all others: a meter of the room that
# was not read yet, a backlog, a dispute.
_DUE = """
with due as (
    select d.id, d.room_id, d.installation_id, d.closed_until, d.counted_by,
           (d.closed_until + 1)::timestamp at time zone 'Asia/Shanghai' as until_at
      from billing_draw d
     where d.is_current and d.closed_until < %(today)s
       and d.last_at >= (d.closed_until + 1)::timestamp at time zone 'Asia/Shanghai'
    union all
    select d.id, d.room_id, d.installation_id, d.closed_until, d.counted_by,
           least((d.closed_until + 1)::timestamp at time zone 'Asia/Shanghai', d.ends_at)
      from billing_draw d
     where d.ends_at is not null and (d.closed_until::timestamp at time zone 'Asia/Shanghai') < d.ends_at
       and d.ends_at <= %(now)s
       and d.last_at >= least((d.closed_until + 1)::timestamp at time zone 'Asia/Shanghai', d.ends_at)
)
select due.room_id
  from due
 where not exists (select from billing_draw beside
                    where beside.room_id = due.room_id and beside.is_current and beside.last_at < due.until_at)
   and not exists (select from billing_backlog b
                    where b.installation_id = due.installation_id and b.from_at < due.until_at)
   and not exists (select from billing_dispute s
                    where s.draw_id = due.id and s.state = 'open' and s.from_date <= due.closed_until
                      and due.counted_by = 'server')
 group by due.room_id
 order by min(due.closed_until), due.room_id
 limit %(limit)s
"""
# Plan: purses by key, their draws by index. A rater that read a purse while its day was posted may have seen the new
# entry and the old draw; it asks here.
_LOOK = """
insert into billing_review as v (purse_id, bumps, why, asked_at)
select p.id, 1, 'closed', %(now)s from billing_purse p
 where p.id = any(%(purses)s) and p.tenancy_id is not null and billing_available_fen(p.id) < p.look_below_fen
 order by p.id
on conflict (purse_id) do update set bumps = v.bumps + 1
"""


def close(*, now: datetime, limit: int = 500) -> int:
    """Closes the days that are over, room by room, each in a transaction of its own. Returns how many draws' days.

    Several callers share the work, and whoever dies in between leaves a room as it was. A room that fails is logged and
    holds up no other. Raises OperationalError when the database is away.
    """
    with connection.cursor() as cursor:
        cursor.execute(_DUE, {"today": civil_date(now), "now": now, "limit": limit})
        rooms = [room_id for (room_id,) in cursor.fetchall()]
    return sum(_try(room_id, now) for room_id in rooms)


def _try(room_id: int, now: datetime) -> int:
    try:
        return close_room(room_id=room_id, now=now)
    except OperationalError:
        raise
    except Exception:
        # Whatever a tariff can raise: the careful path tells staff; here it must not hold up other rooms.
        log.exception("days of room %s could not be closed", room_id)
        return 0


def close_room(*, room_id: int, now: datetime) -> int:
    """Closes the days of a room that are over, as close does. Returns how many draws' days were closed."""
    seen = _draws(room_id)
    if not seen:
        return 0
    found = room.seen(seen, now=now)
    if not _is_level(found):
        return 0
    days = list(_days(found, now))
    if not days:
        return 0
    marks = {draw.pk: _mark(draw) for draw in seen}
    sums = {draw.pk: _sum(found, draw) for draw in seen}
    with transaction.atomic():
        draws = _held(room_id)
        if {pk: _mark(draw) for pk, draw in draws.items()} != marks:
            return 0
        clear_until = _clear_until(room_id)
        days = list(_thawed(day for day in days if day.usage_date < clear_until))
        for draw_id, theirs in groupby(days, key=lambda day: day.draw_id):
            keeping.keep(draws[draw_id], list(theirs), sums[draw_id], now)
        _look({draws[day.draw_id].purse_id for day in days}, now)
        _tell_bills(draws, days, now)
        _list_odd(found, now)
    return len(days)


def close_held(*, room_id: int, now: datetime) -> int:
    """Rates what waits of a room and closes its days, in the caller's transaction: somebody moves out and the last bill
    is wanted now. A draw that has ended is closed to its end where all meters of the room were read then.

    The caller holds the purses of the room's draws, before their draws. Returns how many draws' days were closed.
    """
    careful.rate_held(room_id=room_id, now=now)
    return close_room(room_id=room_id, now=now)


def _draws(room_id: int) -> list[Draw]:
    rows = Draw.objects.select_related("tenancy", "version").filter(room=room_id)
    return list(rows.order_by("installation", "starts_at"))


def _held(room_id: int) -> dict[int, Draw]:
    """The room's draws, held, after their purses."""
    purses = Draw.objects.filter(room=room_id).values_list("purse_id", flat=True)
    list(Purse.objects.select_for_update(no_key=True).filter(pk__in=list(purses)).order_by("pk"))
    rows = Draw.objects.select_for_update(no_key=True).filter(room=room_id).order_by("pk")
    return {draw.pk: draw for draw in rows}


def _mark(draw: Draw) -> tuple[object, ...]:
    """What must be as it was when the days were computed."""
    chain_end = (draw.last_at, draw.last_wh, draw.total_nano)
    return (draw.revision, draw.closed_until, draw.ends_at, draw.purse_id, chain_end)


def _is_level(found: Rated) -> bool:
    """Whether the draws were rated as far as the chains go: readings that only lie there would be counted twice."""
    ends = {one.installation.pk: one.folded.end.at for one in found.hanging}
    return all(draw.last_at == ends[draw.installation_id] for draw in found.room.draws if draw.is_current)


def _clear_until(room_id: int) -> date:
    waiting = Backlog.objects.filter(installation__draws__room=room_id).order_by("from_at").first()
    return civil_date(waiting.from_at) if waiting else date.max


def _sum(found: Rated, draw: Draw) -> int:
    """All that the draw used by the engine, as far as the chain goes."""
    own = (part for part in found.priced if part.draw_id == draw.pk)
    return draw.closed_nano + sum(part.nano_fen for part in own if civil_date(part.slice.from_at) >= draw.closed_until)


def _thawed(days: Iterable[Closed]) -> Iterator[Closed]:
    """A draw's days up to the first one that is in dispute: what is frozen is not posted, and the rest waits behind."""
    days = list(days)
    frozen = disputes.frozen_dates(draw_ids={day.draw_id for day in days})
    for day in days:
        if day.draw_id not in frozen or day.usage_date < frozen[day.draw_id][0]:
            yield day


def _list_odd(found: Rated, now: datetime) -> None:
    """Meters whose own period registers do not belong to their total: time has decided, and a person should look."""
    for one in found.hanging:
        if spans := found.odd.get(one.installation.pk):
            detail = {
                "meter": one.installation.meter.serial,
                "since": spans[0].a.at.isoformat(),
                "until": spans[-1].b.at.isoformat(),
            }
            worklist.raise_item(
                key=f"{ODD}:{one.installation.pk}",
                kind=ODD,
                property_id=one.installation.property_id,
                detail=detail,
                trace="",
                now=now,
            )


def _look(purse_ids: set[int], now: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_LOOK, {"purses": sorted(purse_ids), "now": now})


def _tell_bills(draws: Mapping[int, Draw], days: Iterable[Closed], now: datetime) -> None:
    """Of the months of which a last day was closed: the month's own, or the last one of a draw that has ended."""
    months: dict[date, set[int]] = {}
    for day in days:
        draw, next_date = draws[day.draw_id], day.usage_date + DAY
        if next_date.day == 1 or (draw.ends_at is not None and draw.ends_at <= instant(next_date)):
            months.setdefault(day.usage_date.replace(day=1), set()).add(draw.purse_id)
    for month_date in sorted(months):
        bill_news.tell(purse_ids=months[month_date], month_date=month_date, now=now)


def _days(found: Rated, now: datetime) -> Iterator[Closed]:
    """Every open day of each draw that is over and read over, those without energy too."""
    read_until = min((_read_until(one, now) for one in found.hanging), default=now)
    for one in found.hanging:
        points = [span.a for span in one.folded.spans[:1]] + [span.b for span in one.folded.spans]
        for draw in found.room.draws:
            if draw.installation_id == one.installation.pk and points:
                yield from _days_of(found, draw, points, min(read_until, now))


def _read_until(one: Hanging, now: datetime) -> datetime:
    """How far a meter was read. What hangs no more and was read at its end was read for ever."""
    ends_at, end_at = one.installation.ends_at, one.folded.end.at
    return now if ends_at and end_at >= ends_at else end_at


def _days_of(found: Rated, draw: Draw, points: list[Point], read_until: datetime) -> Iterator[Closed]:
    parts: dict[date, list[Priced]] = {}
    for part in found.priced:
        if part.draw_id == draw.pk:
            parts.setdefault(civil_date(part.slice.from_at), []).append(part)
    on = draw.closed_until
    while instant(on) < (draw.ends_at or read_until):
        opens_at = max(instant(on), draw.starts_at)
        closes_at = min(instant(on + DAY), draw.ends_at or instant(on + DAY))
        if closes_at > read_until:
            return
        opens = max((point for point in points if point.at <= opens_at), key=lambda point: point.at)
        closes = min((point for point in points if point.at >= closes_at), key=lambda point: point.at)
        theirs = tuple(parts.get(on, ()))
        yield Closed(draw.pk, on, opens, closes, _counted_before(found, theirs), theirs)
        on += DAY
    if draw.ends_at is not None:
        yield from _emptied(draw, on)


def _emptied(draw: Draw, from_date: date) -> Iterator[Closed]:
    """Days that were closed when the draw ended later than it does now: nothing of them is its own any more."""
    for day in UsageDay.objects.filter(draw=draw, usage_date__gte=from_date).order_by("usage_date"):
        opens, closes = Point(day.opens_at, day.opens_wh), Point(day.closes_at, day.closes_wh)
        yield Closed(draw.pk, day.usage_date, opens, closes, 0, ())


def _counted_before(found: Rated, theirs: tuple[Priced, ...]) -> int:
    """What the room's tiers had counted of the day's cycle before it, by all its draws: for the reader of a bill."""
    cycle = next((line.cycle_date for part in theirs for line in part.lines), None)
    if cycle is None:
        return 0
    first_at = min(part.slice.from_at for part in theirs)
    own = {draw.pk for draw in found.room.draws}
    closed = UsageDay.objects.filter(draw__in=own, usage_date__gte=cycle, usage_date__lt=found.room.since_date)
    before = closed.aggregate(wh=Sum("energy_wh"))["wh"] or 0
    parts = (part for part in found.priced if part.slice.from_at < first_at)
    return int(before) + sum(line.energy_wh for part in parts for line in part.lines if line.cycle_date == cycle)
