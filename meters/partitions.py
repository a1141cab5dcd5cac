"""Months of readings are made ahead, so that the default partition stays for meters whose clock is far off.

Months begin at Asia/Shanghai midnight, on the day that bills begin.
"""

from __future__ import annotations

import itertools
from datetime import datetime
from zoneinfo import ZoneInfo

from django.db import connection, transaction
from psycopg import sql

SHANGHAI = ZoneInfo("Asia/Shanghai")
AHEAD = 3  # months: a gateway that stands still for a quarter is noticed otherwise
LOCK_TIMEOUT = "3s"  # intake must not queue behind us; we come again

_MAKE = (
    "alter table meters_reading detach partition {default}",
    "create table {name} partition of meters_reading for values from ({start}) to ({end})",
    """
    with late as (delete from {default} where read_at >= {start} and read_at < {end} returning *)
    insert into meters_reading select * from late
    """,
    "alter table meters_reading attach partition {default} default",
)
_DEFAULT = sql.Identifier("meters_reading_default")


def make_months(*, now: datetime, ahead: int = AHEAD) -> list[str]:
    """Makes the partitions of this month and the `ahead` next ones; the names of those made now.

    Each in a transaction of its own, under an exclusive lock on the table for a moment. Raises OperationalError when
    the lock is not to be had in 3 s: what was made stays, the rest waits for the next call.
    """
    borders = [month(now, after) for after in range(ahead + 2)]
    return [name for start, end in itertools.pairwise(borders) if (name := make_month(start, end))]


def month(instant: datetime, after: int = 0) -> datetime:
    """When the month of `instant` began in Shanghai, or the one `after` months later."""
    local = instant.astimezone(SHANGHAI)
    months = local.year * 12 + local.month - 1 + after
    return datetime(months // 12, months % 12 + 1, 1, tzinfo=SHANGHAI)


def make_month(start: datetime, end: datetime) -> str:
    """Makes the partition [start, end) and moves into it what the default partition took. "" when it stands already."""
    name = f"meters_reading_{start:%Y_%m}"
    if _exists(name):
        return ""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql.SQL("set local lock_timeout = {}").format(sql.Literal(LOCK_TIMEOUT)))
        cursor.execute("lock table meters_reading in access exclusive mode")
        if _exists(name):
            return ""  # another gateway was quicker
        # A month whose rows lie in the default partition cannot be made beside it: detach, make, move, attach.
        bounds = {"start": sql.Literal(start.isoformat()), "end": sql.Literal(end.isoformat())}
        for statement in _MAKE:
            cursor.execute(sql.SQL(statement).format(name=sql.Identifier(name), default=_DEFAULT, **bounds))
    return name


def _exists(name: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("select to_regclass(%s) is not null", [name])
        row = cursor.fetchone()
    return bool(row and row[0])
