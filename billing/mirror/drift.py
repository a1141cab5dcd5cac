"""Does a meter charge what our tariff says? Its days against ours, a month at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from django.db import connection

from billing.tariff.units import to_fen
from meters.models import Installation
from notifications import worklist

DIFFERS: Final = "meter_price_differs"  # a kind of work item
PERCENT: Final = 2  # of our price; beyond it, and beyond FEN, somebody looks at the meter's prices
FEN: Final = 500

# Plan: the mirrored days of an installation by index, their days by key.
_MONTH = """
select coalesce(sum(m.charged_fen), 0)::bigint,
       coalesce(sum(coalesce(u.cost_nano + u.fee_nano, m.ours_nano)), 0)::bigint
  from billing_mirroredday m
  left join billing_usageday u on u.draw_id = m.draw_id and u.usage_date = m.usage_date
 where m.installation_id = %(installation)s and m.usage_date >= %(first)s
   and m.usage_date < (%(first)s::date + interval '1 month')
"""


@dataclass(frozen=True, slots=True)
class Drift:
    """A month of a meter: what it took, and what its energy costs by our tariff, in fen."""

    meter_fen: int
    ours_fen: int

    @property
    def fen(self) -> int:
        return self.meter_fen - self.ours_fen

    def is_wide(self) -> bool:
        return abs(self.fen) > FEN and abs(self.fen) * 100 > self.ours_fen * PERCENT


def of_month(*, installation_id: int, month_date: date) -> Drift:
    """The mirrored days of a month so far, as they stand now. `month_date` is its first day."""
    with connection.cursor() as cursor:
        cursor.execute(_MONTH, {"installation": installation_id, "first": month_date})
        meter_fen, ours_nano = cursor.fetchone()
    return Drift(meter_fen, to_fen(ours_nano))


def look(*, installation: Installation, month_date: date, now: datetime) -> Drift:
    """Puts a meter with other prices than ours onto the work list, and takes it off where it evened out."""
    found = of_month(installation_id=installation.pk, month_date=month_date)
    item = f"{DIFFERS}:{installation.pk}:{month_date:%Y-%m}"
    if not found.is_wide():
        worklist.resolve(key=item, by=None, resolution="it evened out", now=now)
        return found
    detail = {
        "meter": installation.meter.serial,
        "month": f"{month_date:%Y-%m}",
        "meter_fen": found.meter_fen,
        "ours_fen": found.ours_fen,
    }
    property_id = installation.property_id
    worklist.raise_item(key=item, kind=DIFFERS, property_id=property_id, detail=detail, trace="", now=now)
    return found
