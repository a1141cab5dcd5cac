"""Months of readings are made ahead, so that the default partition stays for meters that were offline for long; and
dropped again when they are old enough and whoever charges by them has no use for them any more.

Months begin at Asia/Shanghai midnight, on the day that bills begin.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

from django.db import connection, transaction
from psycopg import sql

logger = logging.getLogger(__name__)

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
_OLD = r"""
select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
 where i.inhparent = 'meters_reading'::regclass and c.relname ~ '^meters_reading_\d{4}_\d{2}$' and c.relname < %s
 order by c.relname
"""
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
    name = _name(start)
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


def drop_months(*, now: datetime, kept: int, may_drop: Callable[[datetime, datetime], bool]) -> list[str]:
    """Drops the months that ended more than `kept` whole months ago; the names of those dropped, oldest first.

    `may_drop(start, end)` is asked about each, and says no while something still depends on its readings (a day that is
    not closed, a dispute): then it stays, and is asked about again the next time. What of such a month lies in the
    default partition goes with it. Raises ValueError for less than one month, OperationalError as make_months does.
    """
    if kept < 1:
        raise ValueError("the month before this one is still being charged for")
    border = month(now, -kept)
    dropped = []
    for start in sorted({*_old_months(border), *_old_months_in_default(border)}):
        end = month(start, 1)
        if may_drop(start, end):
            _drop(start, end)
            dropped.append(_name(start))
        else:
            logger.info("%s stays: something still depends on it", _name(start))
    return dropped


def _old_months(border: datetime) -> list[datetime]:
    with connection.cursor() as cursor:
        cursor.execute(_OLD, [_name(border)])
        names = [name.rsplit("_", 2)[1:] for (name,) in cursor.fetchall()]
    return [datetime(int(year), int(number), 1, tzinfo=SHANGHAI) for year, number in names]


def _old_months_in_default(border: datetime) -> set[datetime]:
    with connection.cursor() as cursor:
        cursor.execute(
            sql.SQL("select distinct date_trunc('month', read_at, 'Asia/Shanghai') from {} where read_at < {}").format(
                _DEFAULT, sql.Literal(border.isoformat())
            )
        )
        return {month(start) for (start,) in cursor.fetchall()}


def _drop(start: datetime, end: datetime) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql.SQL("set local lock_timeout = {}").format(sql.Literal(LOCK_TIMEOUT)))
        bounds = {"start": sql.Literal(start.isoformat()), "end": sql.Literal(end.isoformat())}
        cursor.execute(sql.SQL("drop table if exists {}").format(sql.Identifier(_name(start))))
        cursor.execute(
            sql.SQL("delete from {default} where read_at >= {start} and read_at < {end}").format(
                default=_DEFAULT, **bounds
            )
        )


def _name(start: datetime) -> str:
    return f"meters_reading_{start:%Y_%m}"


def _exists(name: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("select to_regclass(%s) is not null", [name])
        row = cursor.fetchone()
    return bool(row and row[0])
