"""Does everything add up? Recomputed from the rows that cannot be changed, and named where it does not.

A check is a function of the time that yields findings. Billing's own are `CHECKS`; the floors above have theirs, and
`manage.py audit` (config) hands all of them to `audit()`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from billing.models import JournalEntry, Purse, Transfer


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not add up: which rule it breaks, what breaks it, and the figures."""

    rule: str
    about: str
    detail: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.about}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit looked at, and what it found."""

    findings: tuple[Finding, ...]
    purses: int
    entries: int
    transfers: int

    def is_clean(self) -> bool:
        return not self.findings

    def summary(self) -> str:
        looked_at = f"{self.purses} purses, {self.entries} entries, {self.transfers} transfers"
        return f"{looked_at}: {len(self.findings)} findings" if self.findings else f"{looked_at}: all adds up"

    def as_json(self) -> dict[str, Any]:
        return {"ok": self.is_clean(), **asdict(self)}


Check = Callable[[datetime], Iterable[Finding]]


def audit(*, checks: Sequence[Check], now: datetime) -> Report:
    """Runs the checks over one snapshot of the database (or the caller's transaction) and reports. Changes nothing."""
    with _one_snapshot():
        findings = tuple(finding for check in checks for finding in check(now))
        counts = (model.objects.count() for model in (Purse, JournalEntry, Transfer))
        return Report(findings, *counts)


@contextmanager
def _one_snapshot() -> Iterator[None]:
    """Money that moves while we count must not look like money that is missing."""
    if connection.in_atomic_block:
        yield
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("set transaction isolation level repeatable read, read only")
        yield


def found(rule: str, query: str, params: Sequence[Any] = ()) -> Iterator[Finding]:
    """A check as a query: each row (about, detail) is a finding; a `%` in it is written `%%`.

    Plans: hash joins over whole tables, once a day.
    """
    with connection.cursor() as cursor:
        cursor.execute(query, list(params))
        for about, detail in cursor.fetchall():
            yield Finding(rule, about, detail)


def balances(now: datetime) -> Iterator[Finding]:
    del now
    return found("a purse's balances are the sum of its transfers", _BALANCES)


_BALANCES = """
with moved as (
    select credit_id as account_id, amount_fen as fen from billing_transfer
    union all
    select debit_id, -amount_fen from billing_transfer
), kept as (
    select a.purse_id, a.kind, sum(m.fen) as fen
      from moved m join billing_ledgeraccount a on a.id = m.account_id
     where a.purse_id is not null
     group by a.purse_id, a.kind
), shown as (
    select p.id as purse_id, v.kind, v.fen
      from billing_purse p
     cross join lateral (values ('paid', p.paid_fen), ('subsidy', p.subsidy_fen), ('in_transit', p.in_transit_fen),
                                ('in_meter', p.in_meter_fen)) as v (kind, fen)
)
select 'purse ' || s.purse_id, s.kind || ' shows ' || s.fen || ' fen, its transfers sum to ' || coalesce(k.fen, 0)
  from shown s left join kept k using (purse_id, kind)
 where s.fen <> coalesce(k.fen, 0)
 order by s.purse_id, s.kind
"""


def entries(now: datetime) -> Iterator[Finding]:
    del now
    yield from found("an entry's digest is that of its lines", _DIGESTS)
    yield from found("an entry's lines are numbered from one", _LINES)


# The digest as billing_post takes it: md5 of the three arrays' text.
_DIGESTS = """
select 'entry ' || e.key,
       case when count(t.id) = 0 then 'has no transfers' else 'its ' || count(t.id) || ' lines are other ones' end
  from billing_journalentry e left join billing_transfer t on t.entry_id = e.id
 group by e.id
having count(t.id) = 0
    or e.digest <> md5(array_agg(t.debit_id order by t.line)::text || array_agg(t.credit_id order by t.line)::text
                       || array_agg(t.amount_fen order by t.line)::text)
 order by e.id
"""
_LINES = """
select 'entry ' || e.key, 'has ' || count(*) || ' lines, numbered ' || min(t.line) || ' to ' || max(t.line)
  from billing_journalentry e join billing_transfer t on t.entry_id = e.id
 group by e.id
having min(t.line) <> 1 or max(t.line) <> count(*)
 order by e.id
"""


def accounts(now: datetime) -> Iterator[Finding]:
    del now
    yield from found("a purse's account bears its name", _NAMES)
    yield from found("suspense is never overdrawn", _SUSPENSE)


_NAMES = """
select 'account ' || id, kind || ' ' || ref || ' belongs to purse ' || purse_id
  from billing_ledgeraccount where purse_id is not null and ref <> 'purse:' || purse_id
 order by id
"""
_SUSPENSE = """
select 'suspense ' || a.ref, 'stands at ' || sum(m.fen) || ' fen'
  from billing_ledgeraccount a
  join (select credit_id as account_id, amount_fen as fen from billing_transfer
        union all
        select debit_id, -amount_fen from billing_transfer) m on m.account_id = a.id
 where a.kind = 'suspense'
 group by a.id
having sum(m.fen) < 0
 order by a.id
"""


def journeys(now: datetime) -> Iterator[Finding]:
    """Money on its way to meters, against the top-ups that carry it: they share the key of the entry that sent it."""
    del now
    yield from found("what an entry sent to a meter is a top-up of that amount", _SENT)
    yield from found("a purse's money in transit is that of its unsettled top-ups", _IN_TRANSIT)
    yield from found("a settled top-up is where the ledger says", _SETTLED)


_SENT = """
with sent as (
    select e.key, tr.amount_fen
      from billing_journalentry e
      join billing_transfer tr on tr.entry_id = e.id
      join billing_ledgeraccount a on a.id = tr.credit_id and a.kind = 'in_transit'
)
select 'top-up ' || key,
       'the ledger sent ' || coalesce(s.amount_fen, 0) || ' fen, the top-up carries ' || coalesce(t.amount_fen, 0)
  from sent s full join meters_topup t using (key)
 where s.amount_fen is distinct from t.amount_fen
 order by key
"""
_IN_TRANSIT = """
with under_way as (
    select a.purse_id, sum(t.amount_fen) as fen, count(*) as count
      from meters_topup t
      join billing_journalentry e on e.key = t.key
      join billing_transfer tr on tr.entry_id = e.id
      join billing_ledgeraccount a on a.id = tr.credit_id and a.kind = 'in_transit'
     where t.settled_at is null
     group by a.purse_id
)
select 'purse ' || p.id,
       p.in_transit_fen || ' fen in transit, ' || coalesce(u.count, 0) || ' unsettled top-ups carry '
       || coalesce(u.fen, 0)
  from billing_purse p left join under_way u on u.purse_id = p.id
 where p.in_transit_fen <> coalesce(u.fen, 0)
 order by p.id
"""
_SETTLED = """
with arrived as (
    select e.key, tr.amount_fen, into_.kind
      from billing_journalentry e
      join billing_transfer tr on tr.entry_id = e.id
      join billing_ledgeraccount from_ on from_.id = tr.debit_id and from_.kind = 'in_transit'
      join billing_ledgeraccount into_ on into_.id = tr.credit_id
), ended as (
    select state || ':' || id as key, amount_fen,
           case state when 'landed' then 'in_meter' when 'cancelled' then 'paid' else 'nowhere' end as kind
      from meters_topup where settled_at is not null
)
select 'top-up ' || key,
       'the ledger has ' || coalesce(a.kind || ' ' || a.amount_fen || ' fen', 'no such entry') || ', the top-up says '
       || coalesce(t.kind || ' ' || t.amount_fen || ' fen', 'that it is not settled')
  from arrived a full join ended t using (key)
 where (a.amount_fen, a.kind) is distinct from (t.amount_fen, t.kind)
 order by key
"""


def wishes(now: datetime) -> Iterator[Finding]:
    """What meters were told, against the money: a home that has paid wants its power and sees its balance."""
    yield from found("who has paid wants the power on", _SERVED + _PAID_BUT_OFF, [now, now])
    yield from found("a meter is told the balance that stands", _SERVED + _SHOWN, [now, now])


_SERVED = """
with served as (
    select p.id as purse_id, t.room_id, m.id as meter_id, m.serial, billing_available_fen(p.id) as available_fen,
           p.restore_above_fen,
           exists (select from billing_draw d where d.purse_id = p.id and d.total_nano <> 0) as uses
      from billing_purse p
      join accounts_tenancy t on t.id = p.tenancy_id and t.starts_at <= %s and (t.ends_at is null or t.ends_at > %s)
      join meters_installation i on i.room_id = t.room_id and i.ends_at is null
      join meters_meter m on m.id = i.meter_id
      join meters_metermodel k on k.id = m.model_id and k.balance_held_by = 'server'
)
"""
_PAID_BUT_OFF = """
select 'meter ' || s.serial, 'purse ' || s.purse_id || ' has ' || s.available_fen || ' fen, the relay is wanted '
       || coalesce(l.wanted || ' (' || l.reason || ')', 'nowhere')
  from served s left join meters_level l on l.meter_id = s.meter_id and l.kind = 'relay'
 where s.available_fen > greatest(s.restore_above_fen, 0) and l.wanted is distinct from 'closed'
   and not exists (select from billing_staffhold h where h.room_id = s.room_id and h.lifted_at is null)
 order by s.meter_id
"""
_SHOWN = """
select 'meter ' || s.serial, 'purse ' || s.purse_id || ' has ' || s.available_fen || ' fen, the meter is told '
       || l.wanted
  from served s join meters_level l on l.meter_id = s.meter_id and l.kind = 'show'
 where l.wanted <> s.available_fen::text and not s.uses  -- else it shows what stood when it was decided
 order by s.meter_id
"""

CHECKS: tuple[Check, ...] = (balances, entries, accounts, journeys, wishes)
