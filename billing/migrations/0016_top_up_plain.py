"""Many recharges in a few statements, for payments that are confirmed together."""

from __future__ import annotations

from django.db import migrations

# What billing_top_up does one by one (0002, 0014), for homes of which nothing unusual is to be thought: their tenancy
# runs, no staff hold stands, the server keeps the money of all their meters, and after the recharge there is enough for
# the light. All others are left out, and so are those that somebody else holds: nobody is waited for. The oracle in
# tests/payments/test_together.py is billing_top_up itself.
#
# Plan: purses, tenancies, holds, draws, meters and accounts by index, nested loops whatever the size of the tables,
# planned once. Purses are locked by a statement of their own and looked at by the next.
TOP_UP_PLAIN = """
-- Credits purses and decides about their power. One recharge a line, no purse twice; all from accounts of one kind.
-- Returns the purses that were credited. The caller holds what leads to the purse (orders), as ever.
create function billing_top_up_plain(
    p_keys text[], p_kind text, p_purses bigint[], p_amounts bigint[], p_from_kind text, p_from_refs text[],
    p_happened_at timestamptz[], p_traces text[], p_now timestamptz
) returns setof bigint language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set plan_cache_mode = force_generic_plan
as $$
declare
    v_held bigint[];
    v_homes bigint[];
    v_meters bigint[];
    v_kinds text[];
    v_wanted text[];
    v_traces text[];
    v_entries int;
begin
    v_held := array(
        select id from billing_purse where id = any(p_purses) order by id for no key update skip locked);

    with plain as materialized (
        select p.id, t.room_id, w.trace, left_then.nano
          from unnest(p_purses, p_amounts, p_keys, p_traces) w (purse, amount, key, trace)
          join billing_purse p on p.id = w.purse and p.id = any(v_held)
          join accounts_tenancy t on t.id = p.tenancy_id and t.starts_at <= p_now
           and (t.ends_at is null or t.ends_at > p_now)
         cross join lateral (
               select (p.paid_fen + p.subsidy_fen + w.amount)::numeric * 1000000000
                      - coalesce(sum(d.total_nano::numeric - d.posted_fen::numeric * 1000000000), 0) as nano
                 from billing_draw d where d.purse_id = p.id and d.counted_by = 'server') left_then
         where left_then.nano > greatest(p.restore_above_fen, 0) * 1000000000::numeric
           and not exists (select from billing_journalentry e where e.key = w.key)
           and not exists (
               select from billing_staffhold h
                where h.room_id = t.room_id and h.lifted_at is null and (h.until_at is null or h.until_at > p_now))
           and not exists (
               select from meters_installation i
                 join meters_meter m on m.id = i.meter_id
                 join meters_metermodel k on k.id = m.model_id and k.balance_held_by <> 'server'
                where i.room_id = t.room_id and i.ends_at is null)
    )
    select array_agg(plain.id), array_agg(i.meter_id), array_agg(wish.kind), array_agg(wish.value),
           array_agg(plain.trace)
      into v_homes, v_meters, v_kinds, v_wanted, v_traces
      from plain
      join meters_installation i on i.room_id = plain.room_id and i.ends_at is null
      join meters_meter m on m.id = i.meter_id
      join meters_metermodel k on k.id = m.model_id
     cross join lateral (values ('relay', 'closed', true),
                                ('show', floor(plain.nano / 1000000000)::bigint::text, k.has_display)
                        ) wish (kind, value, is_wished)
     where wish.is_wished;
    v_homes := array(select meters_want_plain(v_homes, v_meters, v_kinds, v_wanted, v_traces, 'paid', p_now));
    if v_homes = '{}' then
        return;
    end if;

    perform set_config('meterpay.ledger', 'open', true);
    insert into billing_ledgeraccount (kind, ref, purse_id)
    select 'paid', 'purse:' || home, home from unnest(v_homes) home
     where (select a.id from billing_ledgeraccount a where a.kind = 'paid' and a.ref = 'purse:' || home) is null
     order by home
    on conflict (kind, ref) do nothing;
    perform billing_account(p_from_kind, ref, null)
       from (select distinct ref from unnest(p_from_refs) ref order by ref) refs;

    with line as (
        select w.*, nextval('billing_journalentry_id_seq') as entry, p.property_id,
               (select id from billing_ledgeraccount where kind = p_from_kind and ref = w.ref) as debit,
               (select id from billing_ledgeraccount where kind = 'paid' and ref = 'purse:' || w.purse) as credit
          from unnest(p_keys, p_purses, p_amounts, p_from_refs, p_happened_at, p_traces)
               w (key, purse, amount, ref, happened_at, trace)
          join billing_purse p on p.id = w.purse
         where w.purse = any(v_homes)
    ), entry as (
        insert into billing_journalentry
            (id, key, kind, property_id, digest, happened_at, posted_at, trace, actor_id, reason)
        select entry, key, p_kind, property_id, md5(array[debit]::text || array[credit]::text || array[amount]::text),
               happened_at, p_now, trace, null, ''
          from line
    ), transfer as (
        insert into billing_transfer (entry_id, line, debit_id, credit_id, amount_fen)
        select entry, 1, debit, credit, amount from line
        returning id
    )
    select count(*) into v_entries from transfer;
    if v_entries <> cardinality(v_homes) then
        raise exception 'a purse was credited twice, or has gone' using errcode = 'MP004';
    end if;

    update billing_purse p
       set paid_fen = p.paid_fen + w.amount, decided_at = p_now, recharges = p.recharges + 1,
           last_recharge_fen = w.amount, last_recharge_at = p_now,
           look_below_fen = greatest(p.look_below_fen, w.amount)
      from unnest(p_purses, p_amounts) w (purse, amount)
     where p.id = w.purse and p.id = any(v_homes);
    perform set_config('meterpay.ledger', '', true);

    insert into billing_review as v (purse_id, bumps, why, asked_at)
    select id, 1, 'recharge', p_now from billing_purse where id = any(v_homes) and needs_review order by id
    on conflict (purse_id) do update set bumps = v.bumps + 1;
    return query select unnest(v_homes);
end $$;
"""
BACK = """
drop function billing_top_up_plain(
    text[], text, bigint[], bigint[], text, text[], timestamptz[], text[], timestamptz);
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0015_lines_of_a_month"), ("meters", "0010_want_plain")]

    operations = [migrations.RunSQL(TOP_UP_PLAIN, BACK)]
