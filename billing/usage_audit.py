"""The audit of usage: days, months, draws and the ledger say the same of the energy that was charged.

A day that was opened again counts as it was kept until it is closed once more: its money is in the purse.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from billing.audit import Check, Finding, found


def days(now: datetime) -> Iterator[Finding]:
    """Each day is the sum of its lines and of its hours, and has as many revisions as it counts."""
    del now
    yield from found("a day is the sum of its lines", _LINES)
    yield from found("what a day was is kept at each revision", _REVISIONS)


_LINES = """
select 'draw ' || d.draw_id || ' ' || d.usage_date,
       d.energy_wh || ' Wh and ' || d.cost_nano + d.fee_nano || ' nano-fen, its lines ' || l.wh || ' and ' || l.nano
       || ', its hours ' || h.wh
  from billing_usageday d
 cross join lateral (select coalesce(sum((line ->> 'energy_wh')::bigint), 0) as wh,
                            coalesce(sum((line ->> 'cost_nano')::bigint + (line ->> 'fee_nano')::bigint), 0) as nano
                       from jsonb_array_elements(d.lines) line) l
 cross join lateral (select coalesce(sum(wh), 0) as wh from unnest(d.slot_wh) wh) h
 where (l.wh, l.nano, h.wh) is distinct from (d.energy_wh::numeric, (d.cost_nano + d.fee_nano)::numeric, d.energy_wh)
 order by d.draw_id, d.usage_date
"""
_REVISIONS = """
select 'draw ' || d.draw_id || ' ' || d.usage_date, 'it counts ' || d.revision || ', ' || count(r.id) || ' are kept'
  from billing_usageday d
  left join billing_usagerevision r on r.draw_id = d.draw_id and r.usage_date = d.usage_date
 group by d.draw_id, d.usage_date, d.revision
having count(r.id) <> d.revision - 1
 order by d.draw_id, d.usage_date
"""


def months(now: datetime) -> Iterator[Finding]:
    """Months are the sums of their days, and of their own lines."""
    del now
    yield from found("a month is the sum of its days", _MONTHS)
    yield from found("a month is the sum of its lines", _LINES_OF_MONTHS)


_LINES_OF_MONTHS = """
select 'draw ' || m.draw_id || ' ' || m.month_date, m.energy_wh || ' Wh and ' || m.cost_nano || ' nano-fen, its lines '
       || l.wh || ' and ' || l.nano
  from billing_usagemonth m
 cross join lateral (select coalesce(sum(wh::bigint), 0) as wh,
                            coalesce(sum(wh::bigint * split_part(name, ':', 4)::bigint), 0) as nano
                       from jsonb_each_text(m.line_wh) as line (name, wh)) l
 where (l.wh, l.nano) is distinct from (m.energy_wh::numeric, m.cost_nano::numeric)
 order by m.draw_id, m.month_date
"""


_MONTHS = """
with summed as (
    select draw_id, date_trunc('month', usage_date)::date as month_date, count(*) as days, sum(energy_wh) as wh,
           sum(cost_nano) as cost, sum(fee_nano) as fee
      from billing_usageday group by 1, 2
)
select 'draw ' || draw_id || ' ' || month_date,
       coalesce(m.days || ' days, ' || m.energy_wh || ' Wh', 'no month') || ', its days are '
       || coalesce(s.days || ', ' || s.wh || ' Wh', 'none')
  from summed s full join billing_usagemonth m using (draw_id, month_date)
 where (s.days, s.wh, s.cost, s.fee)
       is distinct from (m.days::bigint, m.energy_wh::numeric, m.cost_nano::numeric, m.fee_nano::numeric)
 order by draw_id, month_date
"""


def draws(now: datetime) -> Iterator[Finding]:
    """What a draw has closed is its closed days; what it has posted is all its days, rounded once, in the ledger."""
    del now
    yield from found("a draw has closed the sum of its days", _CLOSED)
    yield from found("a draw has posted the sum of its days", _POSTED)
    yield from found("what a draw has posted is in the ledger", _ENTERED)


_CLOSED = """
select 'draw ' || d.id, 'closed ' || d.closed_nano || ' nano-fen, its days before ' || d.closed_until || ' sum to '
       || coalesce(sum(u.cost_nano + u.fee_nano), 0)
  from billing_draw d
  left join billing_usageday u on u.draw_id = d.id and u.usage_date < d.closed_until
 group by d.id
having coalesce(sum(u.cost_nano + u.fee_nano), 0) <> d.closed_nano
 order by d.id
"""
_POSTED = """
select 'draw ' || d.id, 'posted ' || d.posted_fen || ' fen, its days say ' || coalesce(sum(u.posted_fen), 0)
       || ' and cost ' || coalesce(sum(u.cost_nano + u.fee_nano), 0) || ' nano-fen'
  from billing_draw d
  left join billing_usageday u on u.draw_id = d.id
 where d.counted_by = 'server'
 group by d.id
having coalesce(sum(u.posted_fen), 0) <> d.posted_fen
    or floor((2 * coalesce(sum(u.cost_nano + u.fee_nano), 0) + 1000000000) / 2000000000) <> d.posted_fen
 order by d.id
"""
_ENTERED = """
with taken as (
    select split_part(e.key, ':', 2)::bigint as draw_id,
           sum(case when a.purse_id is not null then t.amount_fen else 0 end)
           - sum(case when c.purse_id is not null then t.amount_fen else 0 end) as fen
      from billing_journalentry e
      join billing_transfer t on t.entry_id = e.id
      join billing_ledgeraccount a on a.id = t.debit_id
      join billing_ledgeraccount c on c.id = t.credit_id
     where e.kind in ('usage', 'usage_corrected', 'price_adjustment') and e.key like 'usage:%%'
     group by 1
)
select 'draw ' || d.id, 'posted ' || d.posted_fen || ' fen, its entries sum to ' || coalesce(t.fen, 0)
  from billing_draw d
  left join taken t on t.draw_id = d.id
 where d.counted_by = 'server' and coalesce(t.fen, 0) <> d.posted_fen
 order by d.id
"""

CHECKS: tuple[Check, ...] = (days, months, draws)
