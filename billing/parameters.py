"""The policy as meters that hold their own money go by it: what each is to be told, and the door that tells them.

What is wanted is computed in one place, the statement below, from the property's policy, its room's exceptions and what
staff hold; whoever changes one of these calls `push`, and the chaser's sweep finds whatever is wanted otherwise than it
is laid down, whoever changed it and whatever was killed in between. Only the rows of levels are held, and they are
looked at once more while they are: of two who tell the same meter, the last one to hold its rows knows what both laid
down. What a meter cannot be told is in not_on_meter.py.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Final

from django.db import connection, transaction

from meters import desired

REASON: Final = "policy"
METERS_AT_MOST: Final = 200  # a call; the sweep goes on from there
GROUPS_AT_MOST: Final = 5  # a round of the chaser, which has more to do
DUE_AT_MOST: Final = 2000  # parameters that wait for a gateway: while there are more, none are added

# What staff hold off is not kept on: the meter would refuse to open. Where nothing was ever laid down, nothing is said,
# but to a meter that was told something before it came there.
# Plan: the meters that hang and hold money (hash joins), policies by their unique indexes, levels by (meter, kind).
_OTHERWISE = """
with hanging as (
    select i.meter_id, i.room_id, m.property_id, k.parameters
      from meters_installation i
      join meters_meter m on m.id = i.meter_id
      join meters_metermodel k on k.id = m.model_id
     where i.ends_at is null and i.starts_at <= %(now)s and k.balance_held_by = 'meter' and k.parameters <> '{}'
       and (%(property)s::bigint is null or m.property_id = %(property)s)
       and (%(room)s::bigint is null or i.room_id = %(room)s)
       and (%(meters)s::bigint[] is null or i.meter_id = any(%(meters)s))
), laid_down as (
    select h.meter_id, h.parameters, y.id is not null or r.id is not null as is_laid_down,
           (select array_agg(fen order by fen desc)
              from (select distinct unnest(coalesce(r.warn_fens, y.warn_fens)) as fen) each) as warn_fens,
           coalesce(r.overdraft_fen, y.overdraft_fen, 0) as overdraft_fen,
           coalesce(r.protects_holidays, y.protects_holidays, true) as spares_holidays,
           coalesce(r.is_protected, false) and not exists (
               select from billing_staffhold s
                where s.room_id = h.room_id and s.position = 'open' and s.lifted_at is null
                  and (s.until_at is null or s.until_at > %(now)s)) as is_kept
      from hanging h
      left join billing_supplypolicy y on y.property_id = h.property_id
      left join billing_roompolicy r on r.room_id = h.room_id
)
select d.meter_id, w.kind, w.wanted
  from laid_down d
 cross join lateral (values
           ('warn_1', coalesce(d.warn_fens[1], 0)::text),
           ('warn_2', coalesce(d.warn_fens[2], 0)::text),
           ('overdr', d.overdraft_fen::text),
           ('keep', case when d.is_kept then 'on' else 'off' end),
           ('holidays', case when d.spares_holidays then 'on' else 'off' end)) w (kind, wanted)
  left join meters_level l on l.meter_id = d.meter_id and l.kind = w.kind
 where w.kind = any(d.parameters) and l.wanted is distinct from w.wanted and (d.is_laid_down or l.id is not null)
 order by d.meter_id, w.kind
 limit %(limit)s
"""
KINDS_AT_MOST: Final = 5


def push(*, now: datetime, property_id: int | None = None, room_id: int | None = None) -> int:
    """Wishes of meters, of a property or a room or all, what is laid down for them and is not wanted yet; of how many.

    Some METERS_AT_MOST of them, and none while a gateway has not sent what was pushed before: the sweep does the rest.
    Holds rows of levels to the end of the caller's transaction: call it where no other level is held, or use
    `push_afterwards`.
    """
    if desired.due_parameters(now=now, at_most=DUE_AT_MOST) >= DUE_AT_MOST:
        return 0
    with transaction.atomic():
        wishes = _otherwise(now=now, property_id=property_id, room_id=room_id)
        meter_ids = sorted({meter_id for meter_id, _kind, _wanted in wishes})
        if wishes:
            desired.want_parameters(wishes, reason=REASON, now=now)
        if meter_ids and (changed := _otherwise(now=now, meter_ids=meter_ids)):
            desired.want_parameters(changed, reason=REASON, now=now)
    return len(meter_ids)


def sweep(*, now: datetime) -> int:
    """`push` for all, some groups, each in a transaction, until a gateway has enough to send; of how many meters."""
    told = 0
    for _group in range(GROUPS_AT_MOST):
        told += (pushed := push(now=now))
        if not pushed:
            break
    return told


def push_afterwards(*, room_id: int, now: datetime) -> None:
    """`push` for a room when the caller's transaction is over; should that be killed, the sweep does it."""
    transaction.on_commit(partial(push, now=now, room_id=room_id), robust=True)


def _otherwise(
    *,
    now: datetime,
    property_id: int | None = None,
    room_id: int | None = None,
    meter_ids: list[int] | None = None,
) -> list[tuple[int, str, str]]:
    """(meter, kind, what is laid down) where something else is wanted, or nothing yet."""
    limit = METERS_AT_MOST * KINDS_AT_MOST
    about = {"now": now, "property": property_id, "room": room_id, "meters": meter_ids, "limit": limit}
    with connection.cursor() as cursor:
        cursor.execute(_OTHERWISE, about)
        return [(meter_id, kind, wanted) for meter_id, kind, wanted in cursor.fetchall()]
