"""New readings become energy and cost on their draws: one statement for thousands of them, and no purse is touched.

What is usual (a reading after the last one, as much as the breaker lets through, one version, one cycle) is done here;
whatever is not is left in the backlog as it is, and `careful` does it. The tariff engine prices the same energy again
when a day is closed, so the two hold each other to the nano-fen.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import DatabaseError, connection, transaction

from billing import backlog

log = logging.getLogger(__name__)

# Older news is done with care, meter by meter: one that was offline for weeks must not make all others visit months.
NEWS_WITHIN: Final = timedelta(days=3)
AHEAD: Final = timedelta(minutes=10)  # no clock of a stored reading is further ahead (meters/clocks.py)

_CLAIM = """
select id, stored_at, first_at from meters_batch order by id limit %s for update skip locked
"""
_CLAIM_ONE = "select id, stored_at, first_at from meters_batch where id = %s for update skip locked"

# Plan: the draws by the unique index on their meter where current, locked in the order of their ids. A statement of its
# own: the next one sees the rows as whoever held them before has left them, and none changes under it. PostgreSQL 18
# died of a segmentation fault where the one statement locked, waited, and had to look again at what it had joined.
_HOLD = """
select d.id
  from billing_draw d
 where d.is_current and d.meter_id = any(array(select meter_id from billing_fresh(%s)))
 order by d.id
   for no key update
"""

# Custom plans see the months in question and visit no other partition; compiling costs more than it saves here.
_SETTINGS = "set local jit = off; set local plan_cache_mode = force_custom_plan; set local work_mem = '64MB'"

# Plan: billing_fresh, told to give 5,000 rows; the draws that are held, by their meter; readings of each by the key of
# one partition; price slots by their key; the update is HOT, since nothing it writes is indexed. CTEs are never the
# inner side of a nested loop over many. What is materialized would else be written out again by the planner in each
# place that uses it, some thousand times in all.
#
# Every product fits a bigint: an interval counts up to 10^8 Wh over up to 3 x 10^10 ms, all the intervals of a draw up
# to 4 x 10^10 Wh, and prices go to 10^10 micro-fen. What is larger is not usual.
_ACCRUE = """
with fresh as materialized (
    select meter_id, from_at from billing_fresh(%(batches)s)
), held as materialized (
    select d.id, d.meter_id, d.version_id, d.ct_ratio as ct, d.max_power_w::bigint as max_w, d.extra_wh, d.is_plain,
           d.plain_until_at, d.cycle_date, d.last_at, d.last_wh, d.cycle_wh, d.total_nano, f.from_at
      from fresh f
      join billing_draw d on d.meter_id = f.meter_id and d.is_current
     where d.id = any(%(held)s::bigint[])
), read as (
    select p.*, r.read_at, r.import_wh, r.period_wh,
           lag(r.read_at, 1, p.last_at) over w as a_at, lag(r.import_wh, 1, p.last_wh) over w as a_wh,
           row_number() over w as nth
      from held p
     cross join lateral (
           select r.read_at, r.import_wh, r.period_wh
             from meters_reading r
            where r.meter_id = p.meter_id and r.read_at > p.last_at and r.read_at >= %(lo)s and r.read_at <= %(hi)s
              and r.received_at = any(%(stored)s::timestamptz[])
            order by r.read_at
            limit 401) r
     where p.is_plain and p.from_at > p.last_at and p.from_at >= %(lo)s and p.version_id is not null
    window w as (partition by p.id order by r.read_at)
), timed as (
    select *, import_wh - a_wh as register_wh, (extract(epoch from read_at - a_at) * 1000)::bigint as ms from read
), judged as materialized (
    select *, ms between 1 and 30000000000 and nth <= 400 and read_at <= plain_until_at
              and register_wh between 0 and max_w * (ms + 120000) / 3600000 + 100 and register_wh <= 100000000 / ct
              and a_wh - last_wh between 0 and 40000000000 / ct
              -- the engine counts microseconds; instants are told in milliseconds, and then both cut alike
              and read_at = date_trunc('milliseconds', read_at) and a_at = date_trunc('milliseconds', a_at) as ok
      from timed
), weighed as (
    select *, case when ok then register_wh * ct else 0 end as wh,
              case when ok then (a_wh - last_wh) * ct else 0 end as before_wh
      from judged
), piece as (
    select i.*, s.usage_date, s.period, s.prices, s.fee, s.limits_wh,
           case when s.cycle_date is null then i.cycle_date is null and s.limits_wh = '{}'
                else s.cycle_date = i.cycle_date and cardinality(s.limits_wh) + 1 = cardinality(s.prices)
           end as priceable,
           (extract(epoch from greatest(s.starts_at, i.a_at) - i.a_at) * 1000)::bigint as from_ms,
           (extract(epoch from least(s.ends_at, i.read_at) - i.a_at) * 1000)::bigint as to_ms
      from weighed i
     cross join lateral (
           select s.usage_date, s.period, s.prices, s.fee, s.limits_wh, s.cycle_date, s.starts_at, s.ends_at
             from billing_priceslot s
            where s.version_id = i.version_id and s.starts_at < i.read_at
              and s.starts_at > i.a_at - interval '1 hour' and s.ends_at > i.a_at) s
), split as materialized (
    select *, cycle_wh + before_wh + case when ok then wh * from_ms / ms else 0 end as lo_wh,
              cycle_wh + before_wh + case when ok then wh * to_ms / ms else 0 end as hi_wh
      from piece
), priced as (
    select *, case when not (ok and priceable) then 0
                   when hi_wh <= coalesce(limits_wh[1] + coalesce(extra_wh[1], 0), hi_wh)
                   then (hi_wh - lo_wh) * (prices[1] + fee)
                   else (select sum((prices[k] + fee) * greatest(0,
                                    least(hi_wh, coalesce(limits_wh[k] + coalesce(extra_wh[k], 0), hi_wh))
                                    - greatest(lo_wh, coalesce(limits_wh[k - 1] + coalesce(extra_wh[k - 1], 0), 0))))
                           from generate_subscripts(prices, 1) k)
              end as nano,
              max(usage_date) over (partition by id) as newest_date
      from split
), sums as materialized (
    select id, max(read_at) as last_at, max(import_wh) as last_wh, max(hi_wh) as hi_wh, max(newest_date) as day_date,
           sum(nano) as nano, sum(hi_wh - lo_wh)::bigint as wh,
           coalesce(sum(hi_wh - lo_wh) filter (where usage_date = newest_date), 0)::bigint as day_wh,
           coalesce(sum(nano) filter (where usage_date = newest_date), 0) as day_nano,
           bool_and(ok and coalesce(priceable, false) and nano is not null and (period_wh is null or %(by_time)s))
           -- the slots leave no gap, and their parts add up
           and sum(hi_wh - lo_wh) = max(before_wh + wh)
           and sum(to_ms - from_ms) = (extract(epoch from max(read_at) - min(last_at)) * 1000)::bigint
           and sum(nano) between 0 and 1000000000000000000 and max(total_nano) < 8000000000000000000 as ok
      from priced
     group by id
), done as (
    update billing_draw d
       set last_at = s.last_at, last_wh = s.last_wh, total_nano = d.total_nano + s.nano::bigint,
           cycle_wh = case when d.cycle_date is null then d.cycle_wh else s.hi_wh end,
           day_wh = case when d.day_date = s.day_date then d.day_wh else 0 end + s.day_wh,
           day_nano = case when d.day_date = s.day_date then d.day_nano else 0 end + s.day_nano::bigint,
           day_date = s.day_date
      from sums s
     where d.id = s.id and s.ok
    returning d.id, d.meter_id, d.purse_id, d.counted_by, d.total_nano - d.posted_fen * 1000000000 as accrued_nano
), look as (
    insert into billing_review as v (purse_id, bumps, why, asked_at)
    select p.id, 1, 'balance', %(now)s
      from (select purse_id, array_agg(id) as ids, sum(accrued_nano) as accrued_nano
              from done where counted_by = 'server' group by purse_id) d
      join billing_purse p on p.id = d.purse_id
     where p.tenancy_id is not null  -- nobody is told of a property's own purse, on which thousands of rooms may draw
       and (p.paid_fen + p.subsidy_fen - p.look_below_fen)::numeric * 1000000000 < d.accrued_nano + (
           select coalesce(sum(o.total_nano - o.posted_fen * 1000000000), 0)
             from billing_draw o
            where o.purse_id = p.id and not o.id = any(d.ids) and o.counted_by = 'server')
     order by p.id
    on conflict (purse_id) do update set bumps = v.bumps + 1
    returning 1
), left_over as (
    insert into billing_backlog as b (installation_id, property_id, from_at, reasons, bumps, tries, next_try_at, error)
    select i.id, i.property_id, f.from_at,
           array[case when h.id is null then 'no_draw'
                      when h.from_at <= h.last_at then 'late' else 'unusual' end]::varchar[],
           1, 0, %(now)s, ''
      from fresh f
      join meters_installation i on i.meter_id = f.meter_id and (i.ends_at is null or i.ends_at >= f.from_at)
      left join held h on h.meter_id = f.meter_id
     where not exists (select from done where done.meter_id = f.meter_id)
     order by i.id
    on conflict (installation_id) do update
       set from_at = least(b.from_at, excluded.from_at), bumps = b.bumps + 1,
           -- what has failed waits: another reading does not mend it
           next_try_at = case when b.tries = 0 then least(b.next_try_at, excluded.next_try_at) else b.next_try_at end,
           reasons = case when excluded.reasons <@ b.reasons then b.reasons else b.reasons || excluded.reasons end
    returning 1
), gone as (
    delete from meters_batch where id = any(%(batches)s) returning 1
)
select (select count(*) from done), (select count(*) from left_over), (select count(*) from look),
       (select count(*) from gone)
"""

# Where the meter counts by period itself, its counters decide (billing/tariff/split.py). What they counted in one
# period alone, which is the clock's too, is the same either way, and so is all of a version that knows one price; the
# rest is for the engine.
_BY_TIME = """(
    exists (select from meters_reading q
             where q.meter_id = priced.meter_id and q.read_at = priced.a_at
               and q.read_at >= %(lo)s::timestamptz - interval '6 hours' and q.read_at <= %(hi)s
               and cardinality(q.period_wh) = cardinality(priced.period_wh)
               and not exists (select from unnest(q.period_wh, priced.period_wh) with ordinality u (a, b, k)
                                where a <> b and k <> array_position(
                                      array['sharp', 'peak', 'flat', 'valley', 'deep_valley'], priced.period::text)))
    or not exists (select from billing_priceslot s where s.version_id = priced.version_id and s.period <> 'flat'))
"""
STATEMENT: Final = _ACCRUE.replace("%(by_time)s", _BY_TIME.strip())

_MET = """
select i.id, min(f.from_at)
  from billing_fresh(%(batches)s) f
  join meters_installation i on i.meter_id = f.meter_id and (i.ends_at is null or i.ends_at >= f.from_at)
 group by i.id
"""


@dataclass(frozen=True, slots=True)
class Accrued:
    """Draws that were advanced, installations left in the backlog, purses to be reviewed, batches that are rated."""

    done: int = 0
    left_over: int = 0
    looked: int = 0
    batches: int = 0


@dataclass(frozen=True, slots=True)
class Claimed:
    """Batches that this transaction holds, the earliest of their readings, and when each of them was stored."""

    batch_ids: list[int]
    first_at: datetime
    stored_ats: list[datetime]


def accrue(*, now: datetime, batches_at_most: int = 8) -> Accrued:
    """Rates the oldest batches that nobody else is rating, in a transaction of its own.

    Several callers share the work. Whoever dies in between leaves the batches as they were. Where the statement fails
    for what is in a batch, the batches are tried alone, and one that fails again is left in the backlog as a whole.
    Raises OperationalError where the database is away or two callers stood in each other's way: come again.
    """
    try:
        with transaction.atomic():
            return _rate(_claim(_CLAIM, batches_at_most), now)
    except DatabaseError as error:
        if not _is_of_the_data(error):
            raise
        log.exception("readings could not be rated together")
    return _one_by_one(batches_at_most, now)


def parameters(claimed: Claimed, held: list[int], now: datetime) -> dict[str, Any]:
    """What the statement is told. It sees readings of these batches alone, which it knows by when they were stored.

    Those of a batch that is committed meanwhile wait for it, whichever gateway's clock was ahead: counted here, they
    would look late when their own batch is rated, and go meter by meter, a minute for a second's work.
    """
    newest_at = max(claimed.stored_ats)
    return {
        "batches": claimed.batch_ids,
        "held": held,
        "lo": max(claimed.first_at, newest_at - NEWS_WITHIN),
        "hi": newest_at + AHEAD,
        "stored": claimed.stored_ats,
        "now": now,
    }


def _claim(statement: str, told: int) -> Claimed | None:
    with connection.cursor() as cursor:
        cursor.execute(statement, [told])
        rows = cursor.fetchall()
    if not rows:
        return None
    batch_ids, stored_at, first_at = zip(*rows, strict=True)
    return Claimed(list(batch_ids), min(first_at), list(stored_at))


def _rate(claimed: Claimed | None, now: datetime) -> Accrued:
    if claimed is None:
        return Accrued()
    with connection.cursor() as cursor:
        cursor.execute(_SETTINGS)
        cursor.execute(_HOLD, [claimed.batch_ids])
        held = [draw_id for (draw_id,) in cursor.fetchall()]
        cursor.execute(STATEMENT, parameters(claimed, held, now))
        done, left_over, looked, batches = cursor.fetchone()
    return Accrued(done, left_over, looked, batches)


def _is_of_the_data(error: DatabaseError) -> bool:
    """Whether trying again as before cannot help: a value out of range, a constraint, and not a lock or the network."""
    return (getattr(error.__cause__, "sqlstate", None) or "")[:2] in {"21", "22", "23", "42", "P0"}


def _one_by_one(at_most: int, now: datetime) -> Accrued:
    with connection.cursor() as cursor:
        cursor.execute("select id from meters_batch order by id limit %s", [at_most])
        batch_ids = [batch_id for (batch_id,) in cursor.fetchall()]
    each = [_alone(batch_id, now) for batch_id in batch_ids]
    return Accrued(
        done=sum(one.done for one in each),
        left_over=sum(one.left_over for one in each),
        looked=sum(one.looked for one in each),
        batches=sum(one.batches for one in each),
    )


def _alone(batch_id: int, now: datetime) -> Accrued:
    try:
        with transaction.atomic():
            return _rate(_claim(_CLAIM_ONE, batch_id), now)
    except DatabaseError as error:
        if not _is_of_the_data(error):
            raise
        log.exception("readings of batch %s could not be rated", batch_id)
    with transaction.atomic():
        return _set_aside(_claim(_CLAIM_ONE, batch_id), now)


def _set_aside(claimed: Claimed | None, now: datetime) -> Accrued:
    """All meters of a batch into the backlog: each is then rated by itself, and holds up itself alone."""
    if claimed is None:
        return Accrued()
    with connection.cursor() as cursor:
        cursor.execute(_MET, {"batches": claimed.batch_ids})
        met = cursor.fetchall()
        for installation_id, from_at in sorted(met):
            backlog.leave(installation_ids=[installation_id], from_at=from_at, reason="not_rated", now=now)
        cursor.execute("delete from meters_batch where id = any(%s)", [claimed.batch_ids])
    return Accrued(left_over=len(met), batches=len(claimed.batch_ids))
