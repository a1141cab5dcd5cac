"""Days of meters that hold their own money: what each took of it goes from purse:in_meter to revenue. A day is mirrored
when it is closed; where no tariff of ours holds, the meter's own price alone counts, and it is when the meter has told
past it.

Entry, day and draw are one transaction a meter, and a day has one row and one key: whoever dies in between, or comes
second, charges nothing twice. A meter whose balance does not add up waits on the work list, and holds up nobody else.
Lock order: the meter's purses, its draws.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from django.db import OperationalError, connection, transaction

from billing import ledger
from billing.ledger import Line
from billing.mirror import drift, paid_in
from billing.mirror.account import Charge, DayOf, Held, Known, Money, Shown, follow
from billing.models import Draw, MirroredDay, Purse, UsageDay
from billing.tariff.civil import civil_date, instant
from billing.tariff.units import to_fen
from meters.models import Installation, TopUp
from meters.topups import ON_THEIR_WAY
from notifications import worklist

log = logging.getLogger(__name__)

UNEXPLAINED: Final = "meter_balance_unexplained"  # a kind of work item
DAY: Final = timedelta(days=1)
ASK_AGAIN: Final = timedelta(hours=6)  # of a meter that waits for a person

SETTLED: Final = timedelta(hours=6)  # what a meter says late of a day, it has said by then

# Plan: the draws of meters that hold money, each with its meter and its newest mirrored day by index.
_DUE = """
select d.installation_id
  from billing_draw d
  join meters_meter m on m.id = d.meter_id
  left join lateral (
       select m.usage_date, m.draw_id, o.starts_at
         from billing_mirroredday m join billing_draw o on o.id = m.draw_id
        where m.installation_id = d.installation_id
        order by m.id desc limit 1) y on true
 cross join lateral (
       select greatest(d.closed_until, case when d.version_id is null then
                  least((least(m.reported_at, %(settled)s) at time zone 'Asia/Shanghai')::date,
                        ((d.ends_at - interval '1 microsecond') at time zone 'Asia/Shanghai')::date + 1) end) as until
       ) ready
 where d.counted_by = 'meter' and ready.until > (d.starts_at at time zone 'Asia/Shanghai')::date
   and (y.usage_date is null or ready.until > y.usage_date + 1
        or ready.until > y.usage_date and d.starts_at > y.starts_at)
   and not exists (select from notifications_workitem w
                    where w.key = 'meter_balance:' || d.installation_id and w.state = 'open'
                      and w.last_raised_at > %(asked_since)s)
 group by d.installation_id
 order by min(y.usage_date) nulls first, d.installation_id
 limit %(limit)s
"""


@dataclass(frozen=True, slots=True)
class _Meter:
    """An installation with its draws, held in order, and its newest mirrored day."""

    installation: Installation
    draws: list[Draw]
    newest: MirroredDay | None

    def known(self) -> Known:
        day = self.newest
        if day is None:
            return Known()
        if day.read_at is None or day.purchase_count is None or day.balance_fen is None:
            return Known(day.used_fen)
        return Known(day.used_fen, Shown(day.read_at, day.purchase_count, day.balance_fen))


def work(*, now: datetime, limit: int = 500) -> int:
    """Mirrors what is closed and is not mirrored, a meter a transaction. Returns how many days.

    Several callers share the work. Raises OperationalError when the database is away: come again.
    """
    with connection.cursor() as cursor:
        cursor.execute(_DUE, {"asked_since": now - ASK_AGAIN, "settled": now - SETTLED, "limit": limit})
        due = [installation for (installation,) in cursor.fetchall()]
    return sum(_try(installation, now) for installation in due)


def _try(installation_id: int, now: datetime) -> int:
    try:
        return one(installation_id=installation_id, now=now)
    except OperationalError:
        raise
    except Exception:
        # A key that stands with other lines, say: ours to mend, and no reason for other meters to wait.
        log.exception("installation %s could not be mirrored", installation_id)
        return 0


def one(*, installation_id: int, now: datetime) -> int:
    """Mirrors the closed days of one meter. Returns how many; what does not add up is on the work list."""
    with transaction.atomic():
        meter = _held(installation_id)
        days = list(_days(meter, now))
        if not days:
            return 0
        known = meter.known()
        since_at = known.shown.at if known.shown else meter.installation.starts_at
        readings = paid_in.readings(
            meter.installation, after_at=since_at, is_first=known.shown is None, until_at=days[-1].ends_at
        )
        money = _money(meter.installation, readings, now)
        charges, held = follow(days, readings, known=known, money=money)
        for charge in charges:
            _keep(meter, charge, now)
        _list(meter.installation, held, money, now)
        for month_date in sorted({charge.day.usage_date.replace(day=1) for charge in charges}):
            drift.look(installation=meter.installation, month_date=month_date, now=now)
    return len(charges)


def _held(installation_id: int) -> _Meter:
    purses = Draw.objects.filter(installation=installation_id).values_list("purse_id", flat=True)
    list(Purse.objects.select_for_update(no_key=True).filter(pk__in=list(purses)).order_by("pk"))
    rows = Draw.objects.select_for_update(no_key=True).filter(installation=installation_id).order_by("pk")
    draws = sorted((draw for draw in rows if draw.counted_by == Draw.Counter.METER), key=lambda draw: draw.starts_at)
    newest = MirroredDay.objects.select_related("draw").filter(installation=installation_id).order_by("-pk").first()
    return _Meter(Installation.objects.select_related("meter").get(pk=installation_id), draws, newest)


def _days(meter: _Meter, now: datetime) -> Iterator[DayOf]:
    """The days after the newest mirrored one that are over, in order, up to the first that is not."""
    newest = meter.newest
    for draw in meter.draws:
        if newest and draw.starts_at < newest.draw.starts_at:
            continue
        on = civil_date(draw.starts_at)
        if newest and draw.pk == newest.draw_id:
            on = newest.usage_date + DAY
        elif newest:
            on = max(on, newest.usage_date)
        until = _until(draw)
        ready_until = _ready_until(draw, meter.installation, now)
        while on < min(until, ready_until):
            yield DayOf(draw.pk, on, min(instant(on + DAY), draw.ends_at or instant(on + DAY)))
            on += DAY
        if ready_until < until:
            return


def _ready_until(draw: Draw, installation: Installation, now: datetime) -> date:
    """Days before it are over: closed, or, where no tariff of ours holds and so none is, told past by the meter."""
    told_at = installation.meter.reported_at
    if draw.version_id is not None or told_at is None:
        return draw.closed_until
    return max(draw.closed_until, civil_date(min(told_at, now - SETTLED)))


def _until(draw: Draw) -> date:
    """The day after the draw's last."""
    return civil_date(draw.ends_at - timedelta(microseconds=1)) + DAY if draw.ends_at else date.max


def _money(installation: Installation, readings: Sequence[Shown], now: datetime) -> Money:
    """What went into the meter. What was in it before anybody said so is known from its first reading; it is not ours
    to sell and nobody's to lose, so a person looks."""
    put_in, accepted_until = paid_in.since_hung(installation, now=now)
    if installation.starts_balance_fen is None and readings:
        first = readings[0]
        installation.starts_balance_fen = -Money(0, put_in).used_fen(first)
        installation.save(update_fields=["starts_balance_fen"])
        if installation.starts_balance_fen:
            _raise(f"meter_opening:{installation.pk}", installation, first, "opening_unknown", now)
    return Money(installation.starts_balance_fen or 0, put_in, accepted_until)


# ---- what is kept ----


def _keep(meter: _Meter, charge: Charge, now: datetime) -> None:
    draw = next(draw for draw in meter.draws if draw.pk == charge.day.draw_id)
    day = UsageDay.objects.filter(draw=draw, usage_date=charge.day.usage_date).first()
    ours_nano = day.cost_nano + day.fee_nano if day else 0
    shown = charge.known.shown
    MirroredDay.objects.create(
        property_id=meter.installation.property_id,
        installation=meter.installation,
        draw=draw,
        usage_date=charge.day.usage_date,
        read_at=shown.at if shown else None,
        purchase_count=shown.count if shown else None,
        balance_fen=shown.balance_fen if shown else None,
        used_fen=charge.known.used_fen,
        charged_fen=charge.charged_fen,
        ours_nano=ours_nano,
        mirrored_at=now,
    )
    _post(draw, charge, now)
    draw.posted_fen += charge.charged_fen
    draw.save(update_fields=["posted_fen"])
    if day:
        ours_fen = to_fen(ours_nano)
        note = {"kind": "meter_counts", "meter_fen": charge.charged_fen, "ours_fen": ours_fen}
        notes = [*day.notes, note | {"drift_fen": charge.charged_fen - ours_fen}]
        days = UsageDay.objects.filter(draw=draw, usage_date=charge.day.usage_date)
        days.update(posted_fen=charge.charged_fen, notes=notes)


def _post(draw: Draw, charge: Charge, now: datetime) -> None:
    """Below zero it goes back into the meter's account: a person accepted that."""
    if not charge.charged_fen:
        return
    revenue = ledger.account("revenue", f"property:{draw.property_id}")
    in_meter = ledger.purse_account("in_meter", draw.purse_id)
    sides = (in_meter, revenue) if charge.charged_fen > 0 else (revenue, in_meter)
    ledger.post(
        key=key(draw.pk, charge.day.usage_date),
        kind="usage" if charge.charged_fen > 0 else "usage_corrected",
        property_id=draw.property_id,
        lines=[Line(*sides, abs(charge.charged_fen))],
        happened_at=min(now, charge.day.ends_at),
        trace="",
        actor_id=None,
        reason="",
        now=now,
    )


def key(draw_id: int, usage_date: date) -> str:
    """A mirrored day is charged once: what comes later lies in a later day."""
    return f"usage:{draw_id}:{usage_date.isoformat()}:1"


# ---- what does not add up ----


def _list(installation: Installation, held: Held | None, money: Money, now: datetime) -> None:
    item = f"meter_balance:{installation.pk}"
    if held is None:
        worklist.resolve(key=item, by=None, resolution="it adds up", now=now)
    elif held.is_sure and not _is_on_its_way(installation, held):
        _raise(item, installation, held.shown, held.why, now)


def _is_on_its_way(installation: Installation, held: Held) -> bool:
    """A top-up of ours that may be the unknown purchase: its own queue finds out, or tells a person."""
    ours = TopUp.objects.filter(meter=installation.meter_id, state__in=(*ON_THEIR_WAY, TopUp.State.STUCK))
    return held.why == "purchase_unknown" and ours.filter(sent_at__isnull=False).exists()


def _raise(item: str, installation: Installation, shown: Shown, why: str, now: datetime) -> None:
    detail = {
        "meter": installation.meter.serial,
        "why": why,
        "read_at": shown.at.isoformat(),
        "balance_fen": shown.balance_fen,
        "count": shown.count,
    }
    property_id = installation.property_id
    worklist.raise_item(key=item, kind=UNEXPLAINED, property_id=property_id, detail=detail, trace="", now=now)
