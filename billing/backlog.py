"""The door into the backlog: whose readings are to be looked at with care, from which instant on, and why."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import connection

# Plan: installations by their key, in order, so that two callers wait for one another instead of for ever.
_LEAVE = """
insert into billing_backlog as b (installation_id, property_id, from_at, reasons, bumps, tries, next_try_at, error)
select i.id, i.property_id, %(from_at)s, array[%(reason)s]::varchar[], 1, 0, %(now)s, ''
  from meters_installation i
 where i.id = any(%(installations)s)
 order by i.id
on conflict (installation_id) do update
   set from_at = least(b.from_at, excluded.from_at), bumps = b.bumps + 1, tries = 0, error = '',
       next_try_at = least(b.next_try_at, excluded.next_try_at),
       reasons = case when excluded.reasons <@ b.reasons then b.reasons else b.reasons || excluded.reasons end
"""


def leave(*, installation_ids: Iterable[int], from_at: datetime, reason: str, now: datetime) -> None:
    """Has these installations' readings from from_at on rated anew, in the caller's transaction.

    `reason` is a word of up to 24 letters that staff read. Again for the same installation it keeps the earlier
    instant, and what is being worked off meanwhile is worked off once more.
    """
    told: dict[str, Any] = {"installations": sorted(installation_ids), "from_at": from_at, "reason": reason, "now": now}
    with connection.cursor() as cursor:
        cursor.execute(_LEAVE, told)
