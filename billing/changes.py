"""What changes supply without money: somebody moves in, a meter is hung, a property records on what basis it may cut.

Whoever writes those rows calls nobody; a sweep finds the homes that were decided before the change and decides again.
"""

from __future__ import annotations

from datetime import datetime

from django.db import connection, transaction

from accounts.models import Tenancy
from billing import prepaid, supply
from billing.models import Purse
from meters.models import Installation, MeterModel

# Plan: one pass over the open tenancies with their purses (hash joins), the installations of their rooms by index; a
# fraction of a second for a hundred thousand homes, every quarter of a minute. Homes with no meter have no supply.
_CHANGED_SINCE = """
select t.id
  from accounts_tenancy t
  join meters_installation i on i.room_id = t.room_id and i.ends_at is null and i.starts_at <= %(now)s
  left join billing_purse p on p.tenancy_id = t.id
  left join billing_supplypolicy y on y.property_id = t.property_id
 where t.starts_at <= %(now)s and (t.ends_at is null or t.ends_at > %(now)s)
   and (p.decided_at is null or p.decided_at < greatest(t.starts_at, i.starts_at, y.recorded_at))
 group by t.id
 order by t.id
 limit %(limit)s
"""


def catch_up(*, now: datetime, limit: int = 500) -> int:
    """Decides for homes whose tenancy, meter or policy is younger than the last decision. Returns for how many.

    A home a transaction; money that was paid before its meter hung there goes on into it now. Whoever dies in between
    leaves the rest to the next round.
    """
    with connection.cursor() as cursor:
        cursor.execute(_CHANGED_SINCE, {"now": now, "limit": limit})
        homes = [home for (home,) in cursor.fetchall()]
    for tenancy in Tenancy.objects.filter(pk__in=homes).order_by("pk"):
        purse = prepaid.purse_of(tenancy)
        with transaction.atomic():
            supply.locked(purse.pk)
            supply.decide(purse_id=purse.pk, trace="", now=now)
            _send_on(purse, tenancy, now)
    return len(homes)


def _send_on(purse: Purse, tenancy: Tenancy, now: datetime) -> None:
    """Where meters alone hold the money, nothing that is paid stays behind in the purse."""
    hanging = Installation.objects.filter(room_id=tenancy.room_id, ends_at=None).order_by("pk")
    if hanging.filter(meter__model__balance_held_by=MeterModel.BalanceHolder.SERVER).exists():
        return
    first = hanging.first()
    if first is not None:
        key = f"onward:{purse.pk}:{now.isoformat()}"
        prepaid.send_on(key=key, purse_id=purse.pk, meter_id=first.meter_id, trace="", now=now)
