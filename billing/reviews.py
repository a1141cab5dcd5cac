"""The door to a review: whose supply is to be looked at, and why."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db import connection

# Plan: one insert a purse, by key and in order. A property's own purse is never cut.
_ASK = """
insert into billing_review as v (purse_id, bumps, why, asked_at)
select id, 1, %s, %s from billing_purse where id = any(%s) and tenancy_id is not null order by id
on conflict (purse_id) do update set bumps = v.bumps + 1
"""


# Plan: one pass over the meters that hold money, with their rooms' tenancies and purses (hash joins), each minute.
_ASK_LOW = """
insert into billing_review as v (purse_id, bumps, why, asked_at)
select p.id, 1, 'meter', %(now)s
  from meters_installation i
  join meters_meter m on m.id = i.meter_id
  join meters_metermodel k on k.id = m.model_id
  join accounts_tenancy t on t.room_id = i.room_id and t.starts_at <= %(now)s
       and (t.ends_at is null or t.ends_at > %(now)s)
  join billing_purse p on p.tenancy_id = t.id
 where i.ends_at is null
 group by p.id
having bool_and(k.balance_held_by = 'meter') and bool_and(m.balance_fen is not null)
   and sum(m.balance_fen) + p.in_transit_fen + p.paid_fen + p.subsidy_fen < p.look_below_fen
 order by p.id
on conflict (purse_id) do nothing
"""


# Plan: relays in disagreement, by a partial index as they are few; installation, tenancy and purse by key.
_ASK_ON_THEIR_WAY = """
insert into billing_review as v (purse_id, bumps, why, asked_at)
select p.id, 1, 'cut', %(now)s
  from meters_level l
  join meters_installation i on i.meter_id = l.meter_id and i.ends_at is null
  join accounts_tenancy t on t.room_id = i.room_id and t.starts_at <= %(now)s
       and (t.ends_at is null or t.ends_at > %(now)s)
  join billing_purse p on p.tenancy_id = t.id
 where l.wanted <> l.reported and l.kind = 'relay' and l.wanted = 'open' and l.reason in ('spent', 'spared')
 group by p.id
 order by p.id
on conflict (purse_id) do nothing
"""


def ask_for_cuts_on_their_way(*, now: datetime) -> int:
    """Asks for the homes that are cut and whose meters have not obeyed yet: what speaks against a cut by now takes it
    back, before a meter that was away hears of it. Returns for how many."""
    with connection.cursor() as cursor:
        cursor.execute(_ASK_ON_THEIR_WAY, {"now": now})
        return int(cursor.rowcount)


def ask_for_low_meters(*, now: datetime) -> int:
    """Asks for the homes whose meters count their money themselves and have told that it fell below the next level.

    Nothing else asks for them: rating does for those whose money is counted here. Returns for how many.
    """
    with connection.cursor() as cursor:
        cursor.execute(_ASK_LOW, {"now": now})
        return int(cursor.rowcount)


def ask(*, purse_ids: Iterable[int], why: str, now: datetime) -> None:
    """Has these purses' supply looked at soon, in the caller's transaction. `why` is a word of up to 16 letters."""
    with connection.cursor() as cursor:
        cursor.execute(_ASK, [why, now, sorted(purse_ids)])
