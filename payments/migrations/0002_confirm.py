"""The heart, in one statement: a verified payment becomes a credit, once, or lands in suspense with its reason.

Called by `payments/confirm.py` alone. One round trip, so the order and the purse stay locked for as long as the
database needs and not for as long as a web process takes between statements.
Lock order: Order, then Purse, then the rows that hang on it (tenancy, cut holds), then the meter's levels. The oracle in tests/payments/test_confirm.py is the same
in the ORM's words.
"""

from __future__ import annotations

from django.db import migrations

CONFIRM = """
create function payments_confirm(
    p_merchant bigint, p_number text, p_transaction text, p_amount_fen integer, p_payer text,
    p_paid_at timestamptz, p_found_by text, p_event bigint, p_trace text, p_now timestamptz
) returns table (payment bigint, state text, suspicion text, order_number text, trace text, is_new boolean)
language plpgsql as $$
#variable_conflict use_column
declare
    v_attempt payments_attempt;
    v_order payments_order;
    v_payment payments_payment;
    v_merchant payments_merchant;
    v_ends_at timestamptz;
    v_suspicion text := '';
    v_property bigint;
    v_trace text;
    v_new boolean := false;
begin
    select * into strict v_merchant from payments_merchant where id = p_merchant;
    select a.* into v_attempt from payments_attempt a where a.merchant_id = p_merchant and a.number = p_number;
    if v_attempt.id is not null then
        select o.* into strict v_order from payments_order o where o.id = v_attempt.order_id for update;
    end if;
    -- Lock, then look: whoever came first has committed by now.
    select p.* into v_payment from payments_payment p
     where p.merchant_id = p_merchant and p.provider_transaction = p_transaction;

    if v_payment.id is null then
        if v_order.id is null then
            v_suspicion := 'unknown_order';
            -- Named only where there is no doubt: the merchant takes money for one property.
            select min(mp.property_id) into v_property from payments_merchantproperty mp
             where mp.merchant_id = p_merchant having count(distinct mp.property_id) = 1;
        else
            v_property := v_order.property_id;
            perform from billing_purse where id = v_order.purse_id for no key update;
            select t.ends_at into v_ends_at from accounts_tenancy t where t.id = v_order.tenancy_id for share;
            v_suspicion := case
                when p_amount_fen <> v_attempt.amount_fen then 'wrong_amount'
                when v_order.state = 'paid' then 'surplus'
                when v_ends_at <= p_now then 'tenancy_ended'
                else '' end;
        end if;
        v_trace := coalesce(v_order.trace, p_trace);

        insert into payments_payment
            (merchant_id, property_id, provider_transaction, number, attempt_id, order_id, purse_id, amount_fen, payer,
             paid_at, found_at, found_by, state, suspicion, refunded_fen, trace)
        values
            (p_merchant, v_property, p_transaction, p_number, v_attempt.id, v_order.id,
             case when v_suspicion = '' then v_order.purse_id end, p_amount_fen, p_payer,
             p_paid_at, p_now, p_found_by, case when v_suspicion = '' then 'credited' else 'suspended' end,
             v_suspicion, 0, v_trace)
        on conflict (merchant_id, provider_transaction) do nothing
        returning * into v_payment;
        v_new := v_payment.id is not null;
        if not v_new then  -- an unknown order has no lock to wait on; its twin was faster
            select p.* into strict v_payment from payments_payment p
             where p.merchant_id = p_merchant and p.provider_transaction = p_transaction;
        end if;
    end if;

    if v_new then
        -- What is still open elsewhere is to be closed at its provider: the chaser looks at once.
        update payments_attempt a
           set state = case when a.id = v_attempt.id then 'paid' else a.state end,
               ended_at = case when a.id = v_attempt.id then p_now else a.ended_at end,
               next_ask_at = case when a.id <> v_attempt.id then p_now end
         where a.order_id = v_attempt.order_id
           and (a.id = v_attempt.id or v_suspicion = '' and a.state in ('made', 'ready'));
        if v_suspicion = '' then
            update payments_order o set state = 'paid', paid_at = p_paid_at, closed_at = null where o.id = v_order.id;
            delete from billing_cuthold h where h.key = 'order:' || v_order.id;
            perform billing_top_up('payment:' || v_payment.id, 'recharge', v_order.purse_id, p_amount_fen,
                                   'clearing', 'merchant:' || v_merchant.slug, v_order.meter_id,
                                   p_paid_at, v_trace, null, '', p_now);
            perform notifications_leave('payment:' || v_payment.id, 'recharge_received', v_property,
                                        v_order.tenancy_id, jsonb_build_object('amount_fen', p_amount_fen), p_now);
            if v_attempt.channel = 'wechat_mini' then
                insert into payments_shippingnotice (payment_id, state, tries, next_try_at, last_error)
                values (v_payment.id, 'waiting', 0, p_now, '');
            end if;
        else
            perform billing_post('payment:' || v_payment.id, 'suspense', v_property,
                                 array[billing_account('clearing', 'merchant:' || v_merchant.slug, null)],
                                 array[billing_account('suspense', 'merchant:' || v_merchant.slug, null)],
                                 array[p_amount_fen::bigint], p_paid_at, v_trace, null, v_suspicion, p_now);
            perform notifications_raise_item('payment:' || v_payment.id, 'payment_in_suspense', v_property,
                jsonb_build_object('payment', v_payment.id, 'amount_fen', p_amount_fen, 'why', v_suspicion,
                                   'number', p_number), v_trace, p_now);
            -- The payer has paid and will not pay again; nothing is waited for any more.
            update payments_order o set state = 'closed', closed_at = p_now
             where o.id = v_order.id and o.state = 'placed' and not exists (
                select from payments_attempt a where a.order_id = o.id and a.state in ('made', 'ready'));
        end if;
    end if;

    update payments_providerevent e set state = 'done', done_at = p_now where e.id = p_event and e.state = 'stored';
    return query select v_payment.id, v_payment.state::text, v_payment.suspicion::text, v_order.number::text,
                        v_payment.trace::text, v_new;
end $$;
"""
BACK = """
drop function payments_confirm(bigint, text, text, integer, text, timestamptz, text, bigint, text, timestamptz);
"""


class Migration(migrations.Migration):
    dependencies = [
        ("payments", "0001_tables"),
        ("billing", "0002_ledger"),
        ("notifications", "0002_doors"),
    ]

    operations = [migrations.RunSQL(CONFIRM, BACK)]
