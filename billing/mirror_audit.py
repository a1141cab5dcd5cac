"""Does the ledger follow the meters that hold their own money? Parts of the audit, as in billing/audit.py."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from billing.audit import Check, Finding, found
from billing.mirror import paid_in
from billing.mirror.account import Money, Shown
from billing.models import MeterMoney, MirroredDay


def mirrored(now: datetime) -> Iterator[Finding]:
    """What meters took, against what was posted for it."""
    del now
    yield from found("what a meter took in a day is what its entry moved", _POSTED)
    yield from found("what a meter took so far is the sum of its days", _SUMMED)
    yield from found("a draw that a meter counts has posted its days", _DRAWS)
    yield from found("what was taken out of a meter has its entry", _TAKEN_OUT)


_POSTED = """
with moved as (
    select e.key, sum(case when d.kind = 'in_meter' then t.amount_fen else -t.amount_fen end) as fen
      from billing_journalentry e
      join billing_transfer t on t.entry_id = e.id
      join billing_ledgeraccount d on d.id = t.debit_id
      join billing_ledgeraccount c on c.id = t.credit_id
     where (d.kind, c.kind) in (('in_meter', 'revenue'), ('revenue', 'in_meter'))
     group by e.key
), days as (
    select 'usage:' || draw_id || ':' || usage_date || ':1' as key, charged_fen as fen
      from billing_mirroredday where charged_fen <> 0
)
select 'entry ' || key, 'moved ' || coalesce(m.fen, 0) || ' fen, the meter took ' || coalesce(d.fen, 0)
  from moved m full join days d using (key)
 where m.fen is distinct from d.fen
 order by key
"""
_SUMMED = """
with days as (
    select id, installation_id, usage_date, used_fen,
           sum(charged_fen) over (partition by installation_id order by id) as charged_fen
      from billing_mirroredday
)
select 'installation ' || installation_id,
       'until ' || usage_date || ' it took ' || used_fen || ' fen, its days sum to ' || charged_fen
  from days
 where used_fen <> charged_fen
 order by id
"""
_DRAWS = """
select 'draw ' || d.id, 'posted ' || d.posted_fen || ' fen, its meter took ' || coalesce(sum(m.charged_fen), 0)
  from billing_draw d left join billing_mirroredday m on m.draw_id = d.id
 where d.counted_by = 'meter'
 group by d.id
having d.posted_fen <> coalesce(sum(m.charged_fen), 0)
 order by d.id
"""
_TAKEN_OUT = """
select 'explanation ' || m.id, 'took out ' || -m.amount_fen || ' fen, its entry ' || coalesce(sum(t.amount_fen), 0)
  from billing_metermoney m
  left join billing_journalentry e on e.key = 'taken_out:' || m.id
  left join billing_transfer t on t.entry_id = e.id
 where m.kind = 'taken_out'
 group by m.id
having -m.amount_fen <> coalesce(sum(t.amount_fen), 0)
 order by m.id
"""


def counted(now: datetime) -> Iterator[Finding]:
    """Of each meter's newest mirrored day: what went in, less what is left, is what was charged."""
    del now
    newest = MirroredDay.objects.order_by("installation", "-pk").distinct("installation")
    for day in newest.select_related("installation__meter"):
        told = MeterMoney.objects.filter(installation=day.installation_id, entered_at__gt=day.mirrored_at)
        if day.read_at is None or day.purchase_count is None or day.balance_fen is None or told.exists():
            continue  # what was explained since lies in the next day's
        put_in, _accepted = paid_in.since_hung(day.installation, now=day.mirrored_at)
        money = Money(day.installation.starts_balance_fen or 0, put_in)
        used_fen = money.used_fen(Shown(day.read_at, day.purchase_count, day.balance_fen))
        if used_fen != day.used_fen:
            detail = f"{used_fen} fen went in and are no longer there, {day.used_fen} were charged"
            yield Finding("a meter's money is bought, used, or in it", f"meter {day.installation.meter.serial}", detail)


CHECKS: tuple[Check, ...] = (mirrored, counted)
