"""A day that was closed is kept: its row, its month, its money, and what it was before where it is closed again.

Whoever calls holds the draw and its purse. A day that comes out as it stands is left alone; one that differs keeps what
it was as a `UsageRevision`, and what is new of its money is posted once.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from django.db import connection
from django.db.models import Sum

from billing.models import Draw, UsageDay, UsageMonth, UsageRevision
from billing.rating import posting
from billing.rating.chain import Point
from billing.rating.counting import Priced
from billing.rating.posting import DayMoney
from billing.tariff.civil import CIVIL
from billing.tariff.price import ChargeLine, summed
from notifications import worklist

log = logging.getLogger(__name__)

DIFFERS: Final = "rating_differs"  # a kind of work item
DAY: Final = timedelta(days=1)
HOURS: Final = 24

# What a day says; another outcome in any of these is a revision. Its money follows from the first seven.
SAYS: Final = (
    "energy_wh", "cost_nano", "fee_nano", "lines", "slot_wh", "cycle_before_wh",
    "opens_at", "opens_wh", "closes_at", "closes_wh",
)  # fmt: skip
# Plan: one row by key; a day's sums are added in the transaction that keeps the day, a revision's difference as well.
_MONTH = """
insert into billing_usagemonth as m
       (draw_id, month_date, property_id, purse_id, days, energy_wh, cost_nano, fee_nano, period_wh, line_wh)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s::jsonb, %s::jsonb)
on conflict (draw_id, month_date) do update
   set days = m.days + excluded.days, energy_wh = m.energy_wh + excluded.energy_wh,
       cost_nano = m.cost_nano + excluded.cost_nano, fee_nano = m.fee_nano + excluded.fee_nano,
       period_wh = (select coalesce(jsonb_object_agg(k, coalesce((m.period_wh ->> k)::bigint, 0)
                                                        + coalesce((excluded.period_wh ->> k)::bigint, 0)), '{}')
                      from jsonb_object_keys(m.period_wh || excluded.period_wh) k),
       line_wh = (select coalesce(jsonb_object_agg(k, coalesce((m.line_wh ->> k)::bigint, 0)
                                                      + coalesce((excluded.line_wh ->> k)::bigint, 0)), '{}')
                    from jsonb_object_keys(m.line_wh || excluded.line_wh) k)
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


def keep(draw: Draw, days: Sequence[Closed], engine_nano: int, now: datetime) -> None:
    """The days, in order and without a gap, their months, their money and the draw, together."""
    known = {day.usage_date: day for day in UsageDay.objects.filter(draw=draw, usage_date__gte=draw.closed_until)}
    rows = [as_row(draw, day, known.get(day.usage_date)) for day in days]
    closed_nano = draw.closed_nano + sum(_nano(row) for row in rows)
    changed = [row for row in rows if _differs(row, known.get(row.usage_date))]
    _post(draw, changed, known, now)
    for row in changed:
        _write(row, known.get(row.usage_date), now)
    _compare(draw, engine_nano, now)
    draw.closed_nano, draw.total_nano = closed_nano, engine_nano
    draw.closed_until, draw.revision = days[-1].usage_date + DAY, draw.revision + 1
    draw.save(update_fields=["closed_nano", "total_nano", "closed_until", "revision"])


def _nano(day: UsageDay) -> int:
    return day.cost_nano + day.fee_nano


def _post(draw: Draw, changed: Iterable[UsageDay], known: Mapping[date, UsageDay], now: datetime) -> None:
    """What is new of each day, on top of all that the draw has posted: days that were opened again count as they stood
    until they are closed again."""
    draw.closed_nano += sum(_nano(day) for day in known.values())
    fees_nano = UsageMonth.objects.filter(draw=draw).aggregate(nano=Sum("fee_nano", default=0))["nano"]
    for row in changed:
        was = known.get(row.usage_date)
        row.revision = was.revision + 1 if was else 1
        kind = why(row, was) if was else posting.USED
        cost_nano, fee_nano = row.cost_nano - (was.cost_nano if was else 0), row.fee_nano - (was.fee_nano if was else 0)
        day = DayMoney(row.usage_date, row.revision, cost_nano, fee_nano, kind)
        row.posted_fen += posting.post_days(draw=draw, days=[day], fee_before_nano=int(fees_nano), now=now)
        fees_nano += fee_nano


def as_row(draw: Draw, day: Closed, known: UsageDay | None = None) -> UsageDay:
    """The day as it would be kept, not saved. `known`: as it is kept now."""
    row = UsageDay(
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
    if known is not None:
        row.revision, row.notes, row.posted_fen = known.revision, known.notes, known.posted_fen
    return row


def _differs(row: UsageDay, known: UsageDay | None) -> bool:
    return known is None or any(getattr(row, name) != getattr(known, name) for name in SAYS)


def _write(row: UsageDay, known: UsageDay | None, now: datetime) -> None:
    if known is None:
        row.save(force_insert=True)
        _add_to_month(row, 1)
        return
    UsageRevision.objects.create(
        draw_id=row.draw_id,
        usage_date=row.usage_date,
        revision=known.revision,
        replaced_at=now,
        reason=why(row, known),
        entry_key=posting.key(row.draw_id, row.usage_date, row.revision),
        was=_as_json(known),
    )
    row.save(force_update=True)
    _add_to_month(known, 0, sign=-1)
    _add_to_month(row, 0)


def why(row: UsageDay, known: UsageDay) -> str:
    """The kind of a revision: the prices are others, or what was used is."""
    is_same_energy = (row.energy_wh, row.slot_wh) == (known.energy_wh, known.slot_wh)
    return posting.PRICE if is_same_energy and _versions(row) != _versions(known) else posting.CORRECTED


def _versions(day: UsageDay) -> set[int]:
    return {line["version"] for line in day.lines}


def _as_json(day: UsageDay) -> dict[str, Any]:
    kept = {name: getattr(day, name) for name in (*SAYS, "posted_fen")}
    return kept | {name: kept[name].isoformat() for name in ("opens_at", "closes_at")}


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


def line_name(line: Mapping[str, Any]) -> str:
    """Under which name a month sums a line up: what makes it another line of a bill."""
    return ":".join(str(line[part]) for part in ("version", "tier", "period", "price", "fee"))


def _add_to_month(row: UsageDay, days: int, *, sign: int = 1) -> None:
    period_wh: dict[str, int] = {}
    line_wh: dict[str, int] = {}
    for line in row.lines:
        period_wh[line["period"]] = period_wh.get(line["period"], 0) + sign * line["energy_wh"]
        name = line_name(line)
        line_wh[name] = line_wh.get(name, 0) + sign * line["energy_wh"]
    sums: list[int | str] = [
        days,
        sign * row.energy_wh,
        sign * row.cost_nano,
        sign * row.fee_nano,
        json.dumps(period_wh),
        json.dumps(line_wh),
    ]
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
