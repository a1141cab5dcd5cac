"""Civil days are closed: what a room used on each, priced by the engine from its readings, is kept and its money moves.

A day is closed when the chain of every meter of its room has passed its midnight and nothing before that waits in the
backlog. Nothing is estimated: a silent meter's days stay open. Rooms are computed without locks; what changed meanwhile
is left to the next round.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any, Final

from django.db import OperationalError, connection, transaction
from django.db.models import Sum

from billing.models import Backlog, Draw, Purse, UsageDay, UsageMonth
from billing.rating import posting, room
from billing.rating.chain import Point
from billing.rating.counting import Priced
from billing.rating.posting import DayMoney
from billing.rating.room import Hanging, Rated
from billing.tariff.civil import CIVIL, civil_date, instant
from billing.tariff.price import ChargeLine, summed
from notifications import worklist

log = logging.getLogger(__name__)

DIFFERS: Final = "rating_differs"  # a kind of work item
DAY: Final = timedelta(days=1)
HOURS: Final = 24

# Plan: draws_to_close, and the rooms' own draws by index; a room with several meters comes once.
_DUE = """
select d.room_id
  from billing_draw d
 where (d.is_current and d.closed_until < %(today)s
        or d.ends_at <= %(now)s and (d.closed_until::timestamp at time zone 'Asia/Shanghai') < d.ends_at)
   and d.last_at >= least((d.closed_until + 1)::timestamp at time zone 'Asia/Shanghai', d.ends_at)
 group by d.room_id
 order by min(d.closed_until), d.room_id
 limit %(limit)s
"""
# Plan: one row by key; a day's sums are added once, in the transaction that keeps the day.
_MONTH = """
insert into billing_usagemonth as m
       (draw_id, month_date, property_id, purse_id, days, energy_wh, cost_nano, fee_nano, period_wh)
values (%s, %s, %s, %s, 1, %s, %s, %s, %s::jsonb)
on conflict (draw_id, month_date) do update
   set days = m.days + 1, energy_wh = m.energy_wh + excluded.energy_wh, cost_nano = m.cost_nano + excluded.cost_nano,
       fee_nano = m.fee_nano + excluded.fee_nano,
       period_wh = (select jsonb_object_agg(k, coalesce((m.period_wh ->> k)::bigint, 0)
                                               + coalesce((excluded.period_wh ->> k)::bigint, 0))
                      from jsonb_object_keys(m.period_wh || excluded.period_wh) k)
"""


@dataclass(frozen=True, slots=True)
class Closed:
    """One day of a draw as it will be kept."""

    draw_id: int
    usage_date: date
    opens: Point
    closes: Point
    cycle_before_wh: int
    priced: tuple[Priced, ...]

    @property
    def lines(self) -> tuple[ChargeLine, ...]:
        return summed(line for part in self.priced for line in part.lines)

    @property
    def cost_nano(self) -> int:
        return sum(line.cost_nano_fen for line in self.lines)

    @property
    def fee_nano(self) -> int:
        return sum(line.fee_nano_fen for line in self.lines)


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
    found = room.rated(seen, now=now)
    if not _is_level(found):
        return 0
    until = min((_reached(one) for one in found.hanging), default=date.min)
    days = list(_days(found, min(until, civil_date(now))))
    if not days:
        return 0
    marks = {draw.pk: _mark(draw) for draw in seen}
    sums = {draw.pk: _sum(found, draw) for draw in seen}
    with transaction.atomic():
        draws = _held(room_id)
        if {pk: _mark(draw) for pk, draw in draws.items()} != marks:
            return 0
        days = [day for day in days if day.usage_date < _clear_until(room_id)]
        for draw_id, theirs in groupby(days, key=lambda day: day.draw_id):
            _keep(draws[draw_id], list(theirs), sums[draw_id], now)
    return len(days)


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


def _reached(one: Hanging) -> date:
    """Days before it are covered by the chain. What hangs no more and was read at its end covers all."""
    ends_at = one.installation.ends_at
    end_at = one.folded.end.at
    return date.max if ends_at and end_at >= ends_at else civil_date(end_at)


def _clear_until(room_id: int) -> date:
    waiting = Backlog.objects.filter(installation__draws__room=room_id).order_by("from_at").first()
    return civil_date(waiting.from_at) if waiting else date.max


def _sum(found: Rated, draw: Draw) -> int:
    """All that the draw used by the engine, as far as the chain goes."""
    own = (part for part in found.priced if part.draw_id == draw.pk)
    return draw.closed_nano + sum(part.nano_fen for part in own if civil_date(part.slice.from_at) >= draw.closed_until)


def _days(found: Rated, until: date) -> Iterator[Closed]:
    """Every open day of each draw before `until`, those without energy too."""
    for one in found.hanging:
        points = [span.a for span in one.folded.spans[:1]] + [span.b for span in one.folded.spans]
        for draw in found.room.draws:
            if draw.installation_id == one.installation.pk and points:
                yield from _days_of(found, draw, points, until)


def _days_of(found: Rated, draw: Draw, points: list[Point], until: date) -> Iterator[Closed]:
    if draw.ends_at:
        until = min(until, civil_date(draw.ends_at - timedelta(microseconds=1)) + DAY)
    parts: dict[date, list[Priced]] = {}
    for part in found.priced:
        if part.draw_id == draw.pk:
            parts.setdefault(civil_date(part.slice.from_at), []).append(part)
    on = draw.closed_until
    while on < until:
        opens_at = max(instant(on), draw.starts_at)
        closes_at = min(instant(on + DAY), draw.ends_at or instant(on + DAY))
        opens = max((point for point in points if point.at <= opens_at), key=lambda point: point.at)
        closes = min((point for point in points if point.at >= closes_at), key=lambda point: point.at)
        theirs = tuple(parts.get(on, ()))
        yield Closed(draw.pk, on, opens, closes, _counted_before(found, theirs), theirs)
        on += DAY


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


# ---- what is kept ----


def _keep(draw: Draw, days: list[Closed], engine_nano: int, now: datetime) -> None:
    """The days, their months, their money and the draw, together. The draw is held, and its purse."""
    fee_before_nano = UsageMonth.objects.filter(draw=draw).aggregate(nano=Sum("fee_nano"))["nano"] or 0
    posted = _as_rows(draw, days)
    money = [DayMoney(row.usage_date, row.revision, row.cost_nano, row.fee_nano) for row in posted]
    for row, amount_fen in zip(posted, _amounts(draw, money, int(fee_before_nano), now), strict=True):
        row.posted_fen = amount_fen
    UsageDay.objects.bulk_create(posted)
    for row in posted:
        _add_to_month(row)
    _compare(draw, engine_nano, now)
    draw.total_nano, draw.closed_until, draw.revision = engine_nano, days[-1].usage_date + DAY, draw.revision + 1
    draw.save(update_fields=["total_nano", "closed_until", "revision"])


def _amounts(draw: Draw, money: Iterable[DayMoney], fee_before_nano: int, now: datetime) -> Iterator[int]:
    for day in money:
        yield posting.post_days(draw=draw, days=[day], fee_before_nano=fee_before_nano, reason="", now=now)
        fee_before_nano += day.fee_nano


def _as_rows(draw: Draw, days: Iterable[Closed]) -> list[UsageDay]:
    return [
        UsageDay(
            draw_id=draw.pk,
            usage_date=day.usage_date,
            property_id=draw.property_id,
            purse_id=draw.purse_id,
            opens_at=day.opens.at,
            opens_wh=day.opens.wh,
            closes_at=day.closes.at,
            closes_wh=day.closes.wh,
            cycle_before_wh=day.cycle_before_wh,
            energy_wh=sum(line.energy_wh for line in day.lines),
            cost_nano=day.cost_nano,
            fee_nano=day.fee_nano,
            slot_wh=_by_hour(day.priced),
            lines=[_kept(line) for line in day.lines],
        )
        for day in days
    ]


def _kept(line: ChargeLine) -> dict[str, Any]:
    return {
        "version": line.version,
        "tier": line.tier,
        "period": line.period,
        "energy_wh": line.energy_wh,
        "price": line.price_micro_fen_per_kwh,
        "fee": line.fee_micro_fen_per_kwh,
        "cost_nano": line.cost_nano_fen,
        "fee_nano": line.fee_nano_fen,
    }


def _by_hour(priced: Iterable[Priced]) -> list[int]:
    """Wh by hour of the day: a slice is spread evenly over the time that it lasts, and the parts add up to it."""
    hours = [0] * HOURS
    for part in priced:
        piece = part.slice
        length = piece.to_at - piece.from_at
        at, given_wh = piece.from_at, 0
        while at < piece.to_at:
            local = at.astimezone(CIVIL)
            end_at = min(piece.to_at, local.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1))
            reached_wh = piece.energy_wh * ((end_at - piece.from_at) // timedelta(microseconds=1))
            reached_wh //= length // timedelta(microseconds=1)
            hours[local.hour] += reached_wh - given_wh
            at, given_wh = end_at, reached_wh
    return hours


def _add_to_month(row: UsageDay) -> None:
    period_wh: dict[str, int] = {}
    for line in row.lines:
        period_wh[line["period"]] = period_wh.get(line["period"], 0) + line["energy_wh"]
    sums: list[int | str] = [row.energy_wh, row.cost_nano, row.fee_nano, json.dumps(period_wh)]
    with connection.cursor() as cursor:
        cursor.execute(_MONTH, [row.draw_id, row.usage_date.replace(day=1), row.property_id, row.purse_id, *sums])


def _compare(draw: Draw, engine_nano: int, now: datetime) -> None:
    """SQL and the engine price the same energy: a difference is ours to look at, and money follows the engine."""
    if draw.total_nano == engine_nano:
        return
    log.error("draw %s: accrued %s nano-fen, the engine says %s", draw.pk, draw.total_nano, engine_nano)
    worklist.raise_item(
        key=f"{DIFFERS}:{draw.pk}",
        kind=DIFFERS,
        property_id=draw.property_id,
        detail={"draw": draw.pk, "accrued_nano": draw.total_nano, "engine_nano": engine_nano},
        trace="",
        now=now,
    )
