"""Do payments and the ledger tell the same story? Checks for `manage.py audit`, beside billing's own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from billing.audit import Check, Finding, found

PAYMENTS = """
select 'payment ' || p.id || ' (' || p.provider_transaction || ')',
       'recorded ' || p.amount_fen || ' fen ' || p.state || ', the ledger has '
       || coalesce(t.amount_fen::text, 'nothing') || coalesce(' from ' || d.kind || ' to ' || c.kind, '')
  from payments_payment p
  join payments_merchant m on m.id = p.merchant_id
  left join billing_journalentry e on e.key = 'payment:' || p.id
  left join billing_transfer t on t.entry_id = e.id and t.line = 1
  left join billing_ledgeraccount d on d.id = t.debit_id
  left join billing_ledgeraccount c on c.id = t.credit_id
 where t.id is null or t.amount_fen <> p.amount_fen or d.kind <> 'clearing' or d.ref <> 'merchant:' || m.slug
    or c.kind <> case when p.suspicion = '' then 'paid' else 'suspense' end
    or (p.suspicion = '' and c.purse_id is distinct from p.purse_id)
"""
STRAY_ENTRIES = """
select 'entry ' || e.key, 'credits money for which there is no payment'
  from billing_journalentry e
 where e.key like 'payment:%%'
   and not exists (select from payments_payment p where 'payment:' || p.id = e.key)
"""
ORDERS = """
select 'order ' || o.number, 'is ' || o.state || ' and has ' || count(p.id) || ' crediting payments'
  from payments_order o left join payments_payment p on p.order_id = o.id and p.suspicion = ''
 group by o.id having (o.state = 'paid') <> (count(p.id) = 1)
"""
SUSPENSE = """
select 'merchant ' || m.slug,
       'suspense holds ' || coalesce(l.fen, 0) || ' fen, suspended payments come to ' || coalesce(s.fen, 0)
  from payments_merchant m
  left join (select merchant_id, sum(amount_fen - refunded_fen) as fen from payments_payment
              where state = 'suspended' group by 1) s on s.merchant_id = m.id
  left join (select a.ref, sum(case when t.credit_id = a.id then t.amount_fen else -t.amount_fen end) as fen
               from billing_ledgeraccount a join billing_transfer t on a.id in (t.credit_id, t.debit_id)
              where a.kind = 'suspense' group by 1) l on l.ref = 'merchant:' || m.slug
 where coalesce(l.fen, 0) <> coalesce(s.fen, 0)
"""
REFUNDS = """
select 'payment ' || p.id,
       'says ' || p.refunded_fen || ' fen were refunded, its refunds come to ' || coalesce(sum(r.amount_fen), 0)
  from payments_payment p left join payments_refund r on r.payment_id = p.id
 group by p.id having p.refunded_fen <> coalesce(sum(r.amount_fen), 0)
"""
REFUND_ENTRIES = """
select 'refund ' || r.id, 'of ' || r.amount_fen || ' fen is not in the ledger'
  from payments_refund r
 where not exists (select from billing_journalentry e join billing_transfer t on t.entry_id = e.id
                    where e.key = 'refund:' || r.id group by e.id having sum(t.amount_fen) = r.amount_fen)
"""
RECEIPTS = """
select 'counter receipt ' || r.number, 'of ' || r.amount_fen || ' fen does not stand so in the ledger'
  from payments_counterreceipt r
 where not exists (select from billing_journalentry e join billing_transfer t on t.entry_id = e.id and t.line = 1
                    where e.key = 'counter:' || r.id and t.amount_fen = r.amount_fen)
    or (r.corrected_at is not null) <> exists (
        select from billing_journalentry e where e.key = 'counter:' || r.id || ':corrected')
"""

# The last number that was given out is how many receipts there are: none is missing, none came from elsewhere.
RECEIPT_NUMBERS = """
select 'property ' || p.code,
       'gave out receipt numbers up to ' || coalesce(n.last, 0) || ', there are ' || r.count || ' up to ' || r.highest
  from (select property_id, count(*) as count, max(substring(number from '[0-9]+$')::int) as highest
          from payments_counterreceipt group by 1) r
  join accounts_property p on p.id = r.property_id
  left join payments_receiptnumbers n on n.property_id = r.property_id
 where r.count is distinct from n.last or r.highest is distinct from n.last
"""


def payments(now: datetime) -> Iterator[Finding]:
    """Each payment stands in the ledger as it was found, and no credit stands there without one."""
    yield from found("a payment is in the ledger", PAYMENTS)
    yield from found("a credit has its payment", STRAY_ENTRIES)
    yield from found("a paid order has its payment", ORDERS)


def suspense(now: datetime) -> Iterator[Finding]:
    yield from found("suspense is what is suspended", SUSPENSE)


def refunds(now: datetime) -> Iterator[Finding]:
    yield from found("a payment knows its refunds", REFUNDS)
    yield from found("a refund is in the ledger", REFUND_ENTRIES)


def receipts(now: datetime) -> Iterator[Finding]:
    yield from found("a counter receipt is in the ledger", RECEIPTS)
    yield from found("receipt numbers run without gaps", RECEIPT_NUMBERS)


CHECKS: tuple[Check, ...] = (payments, suspense, refunds, receipts)
