"""Payments that came at the same time, confirmed in a few statements together.

Called by `payments/confirm.py` alone. What is plain is done as payments_confirm does it one by one (0002); the rest is
left out and goes that way. So is what somebody else holds: a batch waits for nobody, and cannot be in a deadlock with
those who lock one order, one purse, one level after another.
Lock order: Order, then Purse, then the meter's levels. The oracle in tests/payments/test_together.py is
payments_confirm itself.
"""

from __future__ import annotations

from django.db import migrations

# Plan: attempts, orders, payments, tenancies and what hangs on them by index, nested loops whatever the size of the
# tables, planned once. Orders are locked by a statement of their own and looked at by the next.
CONFIRM_PLAIN = """
-- Confirms payments known by their callbacks, a line each: of the right amount, for orders that wait for it, none known
-- yet, the tenancy running. Returns those that were credited, by their event.
create function payments_confirm_plain(
    p_events bigint[], p_merchants bigint[], p_numbers text[], p_transactions text[], p_amounts bigint[],
    p_payers text[], p_paid_at timestamptz[], p_now timestamptz
) returns table (event bigint, payment bigint, order_number text, trace text) language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    v_held bigint[];
    v_running bigint[];
    v_events bigint[];
    v_attempts bigint[];
    v_orders bigint[];
    v_payments bigint[];
    v_credited bigint[];
    v_written int;
    -- what billing is told, in the same order
    v_purses bigint[];
    v_keys text[];
    v_amounts bigint[];
    v_refs text[];
    v_paid_at timestamptz[];
    v_traces text[];
begin
    v_orders := array(
        select a.order_id from unnest(p_merchants, p_numbers) w (merchant, number)
          join payments_attempt a on a.merchant_id = w.merchant and a.number = w.number);
    v_held := array(
        select id from payments_order where id = any(v_orders) and state = 'placed'
         order by id for update skip locked);
    v_running := array(
        select id from accounts_tenancy
         where id in (select tenancy_id from payments_order where id = any(v_held))
           and (ends_at is null or ends_at > p_now)
         order by id for share skip locked);

    with plain as (
        select distinct on (o.purse_id) w.event, a.id as attempt, o.id as order, o.purse_id, w.amount, m.slug,
               w.paid_at, o.trace
          from unnest(p_events, p_merchants, p_numbers, p_transactions, p_amounts, p_paid_at)
               w (event, merchant, number, transaction, amount, paid_at)
          join payments_merchant m on m.id = w.merchant
          join payments_attempt a on a.merchant_id = w.merchant and a.number = w.number and a.amount_fen = w.amount
          join payments_order o on o.id = a.order_id and o.id = any(v_held) and o.tenancy_id = any(v_running)
         where (select p.id from payments_payment p
                 where p.merchant_id = w.merchant and p.provider_transaction = w.transaction) is null
         order by o.purse_id, w.event
    ), named as (
        select *, nextval('payments_payment_id_seq') as payment from plain
    )
    select array_agg(event), array_agg(attempt), array_agg("order"), array_agg(payment), array_agg(purse_id),
           array_agg('payment:' || payment), array_agg(amount), array_agg('merchant:' || slug), array_agg(paid_at),
           array_agg(trace)
      into v_events, v_attempts, v_orders, v_payments, v_purses, v_keys, v_amounts, v_refs, v_paid_at, v_traces
      from named;
    if v_events is null then
        return;
    end if;
    v_credited := array(select billing_top_up_plain(
        v_keys, 'recharge', v_purses, v_amounts, 'clearing', v_refs, v_paid_at, v_traces, p_now));
    if v_credited = '{}' then
        return;
    end if;

    with mine as (
        select w.* from unnest(v_events, v_attempts, v_orders, v_payments, v_purses)
               w (event, attempt, "order", payment, purse)
         where w.purse = any(v_credited)
    ), given as (
        select w.* from unnest(p_events, p_transactions, p_payers, p_paid_at) w (event, transaction, payer, paid_at)
    ), paid as (
        insert into payments_payment
            (id, merchant_id, property_id, provider_transaction, number, attempt_id, order_id, purse_id, amount_fen,
             payer, paid_at, found_at, found_by, state, suspicion, refunded_fen, trace)
        select mine.payment, a.merchant_id, o.property_id, given.transaction, a.number, a.id, o.id, o.purse_id,
               a.amount_fen, given.payer, given.paid_at, p_now, 'callback', 'credited', '', 0, o.trace
          from mine
          join given on given.event = mine.event
          join payments_attempt a on a.id = mine.attempt
          join payments_order o on o.id = mine.order
        returning id, property_id, order_id, attempt_id, amount_fen, paid_at
    ), closed_order as (
        update payments_order o set state = 'paid', paid_at = paid.paid_at, closed_at = null
          from paid where o.id = paid.order_id
        returning o.tenancy_id, paid.id, paid.property_id, paid.amount_fen
    ), message as (
        insert into notifications_message (key, kind, property_id, tenancy_id, context, state, left_at)
        select 'payment:' || id, 'recharge_received', property_id, tenancy_id,
               jsonb_build_object('amount_fen', amount_fen), 'waiting', p_now
          from closed_order
    ), shipping as (
        insert into payments_shippingnotice (payment_id, state, tries, next_try_at, last_error)
        select paid.id, 'waiting', 0, p_now, ''
          from paid join payments_attempt a on a.id = paid.attempt_id and a.channel = 'wechat_mini'
    ), attempt as (
        -- What is still open elsewhere is to be closed at its provider: the chaser looks at once.
        update payments_attempt a
           set state = case when a.id = paid.attempt_id then 'paid' else a.state end,
               ended_at = case when a.id = paid.attempt_id then p_now else a.ended_at end,
               next_ask_at = case when a.id <> paid.attempt_id then p_now end
          from paid
         where a.order_id = paid.order_id and (a.id = paid.attempt_id or a.state in ('made', 'ready'))
    ), hold as (
        delete from billing_cuthold h using paid where h.key = 'order:' || paid.order_id
    ), done as (
        update payments_providerevent e set state = 'done', done_at = p_now
          from mine where e.id = mine.event and e.state = 'stored'
    )
    select count(*) into v_written from closed_order;
    if v_written <> cardinality(v_credited) then
        raise exception 'an order was paid twice, or has gone' using errcode = 'MP004';
    end if;
    return query
        select w.event, w.payment, o.number::text, w.trace
          from unnest(v_events, v_orders, v_payments, v_purses, v_traces) w (event, "order", payment, purse, trace)
          join payments_order o on o.id = w.order
         where w.purse = any(v_credited);
end $$;
"""
BACK = """
drop function payments_confirm_plain(
    bigint[], bigint[], text[], text[], bigint[], text[], timestamptz[], timestamptz);
"""


class Migration(migrations.Migration):
    dependencies = [
        ("payments", "0003_receipt_numbers"),
        ("billing", "0016_top_up_plain"),
        ("notifications", "0003_fewer_indexes"),
    ]

    operations = [migrations.RunSQL(CONFIRM_PLAIN, BACK)]
