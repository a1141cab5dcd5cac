"""Monthly bills, from rollups: what each home of a property used and what it cost, by tariff, tier and period.

A bill's lines are the month's energy at each price; its amount is the exact cost, rounded once. What was posted for the
month's days stands beside it (a day's posting is a difference of rounded totals, so both differ by a fen at most); so
does what was put right in the month of months before. A bill that was issued is never changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from django.db import connection

from billing.models import Draw, Purse
from billing.tariff import units
from billing.tariff.civil import instant

MONTH = timedelta(days=31)


def following(month_date: date) -> date:
    """The first day of the month after the one that begins on month_date."""
    return (month_date + MONTH).replace(day=1)


# Plan: the properties' months by their index, their days of the month by theirs, once each, joined by hashing. A day's
# register is taken with its date, so that a register that began anew in between is told as it was.
_BILLS = """
with used as (
    select draw_id, sum(posted_fen) as posted_fen, min(array[usage_date - date '2000-01-01', opens_wh]) as opens,
           max(array[usage_date - date '2000-01-01', closes_wh]) as closes
      from billing_usageday
     where property_id = any(%(properties)s) and usage_date >= %(month)s and usage_date < %(next)s
       and (%(draws)s::bigint[] is null or draw_id = any(%(draws)s))
     group by draw_id
)
select m.purse_id, p.tenancy_id, m.draw_id, d.meter_id, m.days, m.energy_wh, m.cost_nano, m.fee_nano, m.line_wh,
       u.posted_fen, u.opens[2], u.closes[2]
  from billing_usagemonth m
  join used u on u.draw_id = m.draw_id
  join billing_draw d on d.id = m.draw_id
  join billing_purse p on p.id = m.purse_id
 where m.property_id = any(%(properties)s) and m.month_date = %(month)s
 order by m.purse_id, m.draw_id
"""
# Plan: revisions are few; each entry by its key.
_PUT_RIGHT = """
select d.purse_id, sum(case when k.kind in ('paid', 'subsidy') then t.amount_fen else 0 end)
                   - sum(case when c.kind in ('paid', 'subsidy') then t.amount_fen else 0 end)
  from billing_usagerevision r
  join billing_draw d on d.id = r.draw_id and d.property_id = any(%(properties)s)
       and (%(draws)s::bigint[] is null or d.id = any(%(draws)s))
  join billing_journalentry e on e.key = r.entry_key
  join billing_transfer t on t.entry_id = e.id
  join billing_ledgeraccount k on k.id = t.debit_id
  join billing_ledgeraccount c on c.id = t.credit_id
 where r.usage_date < %(month)s and r.replaced_at >= %(from_at)s and r.replaced_at < %(to_at)s
 group by d.purse_id
"""


@dataclass(frozen=True, slots=True)
class BillLine:
    """Energy of the month at one price, in Wh and micro-fen per kWh; the service fee apart."""

    version_id: int
    tier: int
    period: str
    energy_wh: int
    price: int
    fee: int

    @property
    def cost_nano(self) -> int:
        return self.energy_wh * self.price


@dataclass(frozen=True, slots=True)
class MeterBill:
    """One meter's part: registers at both ends of the month, days that are closed, and its lines."""

    draw_id: int
    meter_id: int
    days: int
    opens_wh: int
    closes_wh: int
    energy_wh: int
    cost_nano: int
    fee_nano: int
    posted_fen: int
    lines: tuple[BillLine, ...]


@dataclass(frozen=True, slots=True)
class Bill:
    """A purse's month. `tenancy_id` None: the property's own, for its empty rooms."""

    purse_id: int
    tenancy_id: int | None
    meters: tuple[MeterBill, ...]
    put_right_fen: int

    @property
    def energy_wh(self) -> int:
        return sum(one.energy_wh for one in self.meters)

    @property
    def posted_fen(self) -> int:
        return sum(one.posted_fen for one in self.meters)

    def shown_fen(self) -> tuple[int, int]:
        """Fen for the energy and fen for the service fee; together they are the rounded total."""
        cost_nano, fee_nano = (sum(getattr(one, name) for one in self.meters) for name in ("cost_nano", "fee_nano"))
        return units.shown_apart(energy_nano_fen=cost_nano, fee_nano_fen=fee_nano)


def bills(*, property_ids: Iterable[int], month_date: date) -> list[Bill]:
    """The bills of properties for the month that begins on month_date, by purse. All at once reads the days once."""
    return _composed(list(property_ids), None, month_date)


def bill_of(purse: Purse, *, month_date: date) -> Bill | None:
    """One purse's bill, read by the keys of its draws; None where no day of the month is closed yet."""
    draws = list(Draw.objects.filter(purse=purse).values_list("pk", flat=True))
    return next(iter(_composed([purse.property_id], draws, month_date)), None)


def _composed(property_ids: list[int], draw_ids: list[int] | None, month_date: date) -> list[Bill]:
    about: dict[str, list[int] | date | None] = {
        "properties": property_ids,
        "draws": draw_ids,
        "month": month_date,
        "next": following(month_date),
        "from_at": instant(month_date),
        "to_at": instant(following(month_date)),
    }
    with connection.cursor() as cursor:
        cursor.execute(_PUT_RIGHT, about)
        put_right = {purse: int(fen) for purse, fen in cursor.fetchall()}
        cursor.execute(_BILLS, about)
        meters: dict[tuple[int, int | None], list[MeterBill]] = {}
        for purse, tenancy, draw, meter, days, wh, cost, fee, line_wh, posted, opens, closes in cursor.fetchall():
            bill = MeterBill(
                draw, meter, days, opens, closes, wh, cost, fee, int(posted), tuple(_lines(json.loads(line_wh)))
            )
            meters.setdefault((purse, tenancy), []).append(bill)
    return [Bill(purse, home, tuple(each), put_right.get(purse, 0)) for (purse, home), each in meters.items()]


def _lines(line_wh: dict[str, int]) -> Iterator[BillLine]:
    for name, wh in line_wh.items():
        if wh:
            version, tier, period, price, fee = name.split(":")
            yield BillLine(int(version), int(tier), period, wh, int(price), int(fee))
