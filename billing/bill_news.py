"""A month's bill is told when all of its days are closed, once a purse and month, in the transaction that closed them.

The caller holds the purses and their draws.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime, timedelta
from typing import Any, Final

from django.db import connection

from billing import bills
from billing.models import Purse
from billing.tariff.civil import instant
from notifications import outbox

KIND: Final = "monthly_bill"  # of a message
TOLD_FOR: Final = timedelta(days=40)  # an older month is history: it is closed anew, or was imported

# Plan: the purses by key, their draws by index: one or two each.
_COMPLETE = """
select p.id
  from billing_purse p
  join accounts_tenancy t on t.id = p.tenancy_id
  join billing_draw d on d.purse_id = p.id
 where p.id = any(%(purses)s) and (%(is_over)s or t.ends_at <= %(now)s) and d.starts_at < %(next_at)s
 group by p.id
having bool_and(least(coalesce(d.ends_at, 'infinity'), %(next_at)s)
                <= d.closed_until::timestamp at time zone 'Asia/Shanghai')
 order by p.id
"""


def tell(*, purse_ids: Collection[int], month_date: date, now: datetime) -> int:
    """Leaves the bill of the month that begins on month_date for those of these purses whose days of it are all closed:
    the month is over, or they have moved out. Returns for how many.
    """
    next_at = instant(bills.following(month_date))
    if now - next_at > TOLD_FOR:
        return 0
    about: dict[str, Any] = {"purses": sorted(purse_ids), "next_at": next_at, "is_over": next_at <= now, "now": now}
    with connection.cursor() as cursor:
        cursor.execute(_COMPLETE, about)
        complete = [purse_id for (purse_id,) in cursor.fetchall()]
    return sum(_tell(purse, month_date, now) for purse in Purse.objects.filter(pk__in=complete).order_by("pk"))


def _tell(purse: Purse, month_date: date, now: datetime) -> bool:
    """Nothing used and nothing to pay is no news."""
    bill = bills.bill_of(purse, month_date=month_date)
    amount_fen = sum(bill.shown_fen()) if bill else 0
    if bill is None or not (bill.energy_wh or amount_fen):
        return False
    month = f"{month_date:%Y-%m}"
    outbox.leave(
        key=f"bill:{purse.pk}:{month}",
        kind=KIND,
        tenancy_id=purse.tenancy_id,
        property_id=purse.property_id,
        context={"month": month, "energy_wh": bill.energy_wh, "amount_fen": amount_fen},
        now=now,
    )
    return True
