"""Supply is decided on what is left after what was accrued, and SQL never cuts: it restores, or leaves as it is.

Cutting needs facts that no payment should wait for (billing/review.py). A recharge is counted here, and asks for a
review where something hangs on it: an alert, a notice, a cut.
"""

from __future__ import annotations

from importlib import import_module

from django.db import migrations

FIRST = import_module("billing.migrations.0002_ledger")
BEFORE = FIRST.SUPPLY.replace("create function", "create or replace function")
TOP_UP = "-- Money reaches a purse" + BEFORE.partition("-- Money reaches a purse")[2]
DECIDING = "perform billing_decide_supply(p_purse, p_trace, p_now"

# Plan: the purse with its tenancy and hold by unique and partial indexes, its draws by theirs (one or two rows), the
# room's meters and their levels. Draws are read and not locked: what is being accrued now comes with the next reading.
DECIDE = """
drop function billing_decide_supply(bigint, text, timestamptz);

-- Decides for the home that draws on a purse whether power is wanted, and tells its meters. The verdict is one of
--   hold_open, hold_closed  staff hold it, stronger than money
--   paid                    there is money
--   credit                  there is none, and what may be used below zero is not used up
--   spared                  used up and not cut; whether it may be, a review says
--   spent                   used up and cut, and what there is now does not bring it back
--   none                    nobody draws on this purse now (the tenancy has ended, or it is a property's own)
-- Nothing is opened here that was not open, but by a hold. The caller holds the purse where money has moved; who brings
-- no recharge reviews the purse in the same transaction.
create function billing_decide_supply(
    p_purse bigint, p_trace text, p_now timestamptz, p_recharge_fen bigint default null
) returns text language plpgsql as $$
declare
    v_room bigint;
    v_left_nano numeric;
    v_limit_fen bigint;
    v_restore_above_fen bigint;
    v_needs_review boolean;
    v_hold text;
    v_verdict text;
    v_cut bigint[] := '{}';
    v_meter record;
begin
    select t.room_id, h.position, p.limit_fen, p.restore_above_fen, p.needs_review,
           (p.paid_fen + p.subsidy_fen)::numeric * 1000000000 - (
               select coalesce(sum(d.total_nano::numeric - d.posted_fen::numeric * 1000000000), 0)
                 from billing_draw d where d.purse_id = p.id and d.counted_by = 'server')
      into v_room, v_hold, v_limit_fen, v_restore_above_fen, v_needs_review, v_left_nano
      from billing_purse p
      join accounts_tenancy t on t.id = p.tenancy_id
      left join billing_staffhold h
        on h.room_id = t.room_id and h.lifted_at is null and (h.until_at is null or h.until_at > p_now)
     where p.id = p_purse and t.starts_at <= p_now and (t.ends_at is null or t.ends_at > p_now);
    if not found then
        return 'none';
    end if;
    -- Warnings are a part of the last recharge: until a review knows which, the next reading below it asks for one.
    update billing_purse
       set decided_at = p_now,  -- billing/changes.py looks for what came later
           recharges = recharges + (p_recharge_fen is not null)::int,
           last_recharge_fen = coalesce(p_recharge_fen, last_recharge_fen),
           last_recharge_at = case when p_recharge_fen is null then last_recharge_at else p_now end,
           look_below_fen = greatest(look_below_fen, p_recharge_fen)
     where id = p_purse;

    if v_hold is not null then
        v_verdict := 'hold_' || v_hold;
    elsif v_left_nano > 0 and v_left_nano > v_restore_above_fen * 1000000000::numeric then
        v_verdict := 'paid';
    else
        v_cut := array(
            select l.meter_id
              from meters_level l
              join meters_installation i on i.meter_id = l.meter_id and i.room_id = v_room and i.ends_at is null
              join meters_meter m on m.id = l.meter_id
              join meters_metermodel k on k.id = m.model_id and k.balance_held_by = 'server'
             where l.kind = 'relay' and l.wanted = 'open' and l.reason in ('spent', 'spared'));
        if v_cut <> '{}' and v_left_nano + v_limit_fen * 1000000000::numeric > 0
                and v_left_nano > v_restore_above_fen * 1000000000::numeric then
            v_cut := '{}';  -- emergency credit brings back below zero
        end if;
        v_verdict := case
            when v_cut <> '{}' then 'spent'
            when v_left_nano > 0 then 'paid'
            when v_left_nano + v_limit_fen * 1000000000::numeric > 0 then 'credit'
            when v_left_nano = 0 and not exists (
                select from meters_installation i
                  join meters_meter m on m.id = i.meter_id
                  join meters_metermodel k on k.id = m.model_id and k.balance_held_by = 'server'
                 where i.room_id = v_room and i.ends_at is null) then 'paid'  -- all of it is in meters
            else 'spared' end;
    end if;
    if p_recharge_fen is not null and (v_needs_review or v_verdict in ('spared', 'spent')) then
        insert into billing_review as v (purse_id, bumps, why, asked_at) values (p_purse, 1, 'recharge', p_now)
        on conflict (purse_id) do update set bumps = v.bumps + 1;
    end if;

    -- Several meters of one room in the levels' primary-key order, as the intake locks them, before any command.
    perform from meters_level
      where meter_id in (select meter_id from meters_installation where room_id = v_room and ends_at is null)
      order by id for no key update;
    for v_meter in
        select i.meter_id as id, k.balance_held_by, k.has_display
          from meters_installation i
          join meters_meter m on m.id = i.meter_id
          join meters_metermodel k on k.id = m.model_id
         where i.room_id = v_room and i.ends_at is null
         order by i.meter_id
    loop
        if v_meter.balance_held_by = 'meter' then
            -- It cuts and restores by its own money; only staff overrule it.
            perform meters_want(v_meter.id, 'relay', coalesce(v_hold, 'auto'), v_verdict, p_trace, p_now);
        else
            perform meters_want(
                v_meter.id, 'relay',
                case when v_hold = 'open' or v_meter.id = any(v_cut) then 'open' else 'closed' end,
                v_verdict, p_trace, p_now);
            if v_meter.has_display then
                perform meters_want(
                    v_meter.id, 'show', floor(v_left_nano / 1000000000)::bigint::text, v_verdict, p_trace, p_now);
            end if;
        end if;
    end loop;
    return v_verdict;
end $$;
"""
DECIDE_BACK = "drop function billing_decide_supply(bigint, text, timestamptz, bigint);"


class Migration(migrations.Migration):
    dependencies = [("billing", "0013_closing"), ("meters", "0009_parameters")]

    operations = [
        migrations.RunSQL(DECIDE, DECIDE_BACK + BEFORE),
        migrations.RunSQL(TOP_UP.replace(DECIDING, DECIDING + ", p_amount_fen"), migrations.RunSQL.noop),
    ]
