"""The ledger's own guard and its only way in; and what a recharge does, in one statement of its caller.

`billing_post` opens the ledger for the length of its own inserts (a transaction-local setting) and closes it again;
triggers refuse every other INSERT, every UPDATE and DELETE, and every change to a purse's balances.
"""

from __future__ import annotations

from django.db import migrations

GUARD = """
create function billing_refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'the ledger is append-only: % on % refused', tg_op, tg_table_name using errcode = 'MP002';
end $$;
create trigger ledger_is_append_only before update or delete on billing_journalentry
    for each row execute function billing_refuse_change();
create trigger ledger_is_append_only before update or delete on billing_transfer
    for each row execute function billing_refuse_change();

create function billing_refuse_strangers() returns trigger language plpgsql as $$
begin
    if coalesce(current_setting('meterpay.ledger', true), '') <> 'open' then
        raise exception 'only billing_post writes money: % on % refused', tg_op, tg_table_name using errcode = 'MP002';
    end if;
    return new;
end $$;
create trigger only_the_ledger_writes before insert on billing_journalentry
    for each row execute function billing_refuse_strangers();
create trigger only_the_ledger_writes before insert on billing_transfer
    for each row execute function billing_refuse_strangers();
create trigger only_the_ledger_writes before update on billing_purse
    for each row
    when ((old.paid_fen, old.subsidy_fen, old.in_transit_fen, old.in_meter_fen)
          is distinct from (new.paid_fen, new.subsidy_fen, new.in_transit_fen, new.in_meter_fen))
    execute function billing_refuse_strangers();
create trigger a_new_purse_is_empty before insert on billing_purse
    for each row
    when ((new.paid_fen, new.subsidy_fen, new.in_transit_fen, new.in_meter_fen) is distinct from (0, 0, 0, 0))
    execute function billing_refuse_strangers();
"""
GUARD_BACK = """
drop trigger a_new_purse_is_empty on billing_purse;
drop trigger only_the_ledger_writes on billing_purse;
drop trigger only_the_ledger_writes on billing_transfer;
drop trigger only_the_ledger_writes on billing_journalentry;
drop function billing_refuse_strangers();
drop trigger ledger_is_append_only on billing_transfer;
drop trigger ledger_is_append_only on billing_journalentry;
drop function billing_refuse_change();
"""

POST = """
create function billing_account(p_kind text, p_ref text, p_purse bigint) returns bigint language plpgsql as $$
declare
    v_id bigint;
begin
    select id into v_id from billing_ledgeraccount where kind = p_kind and ref = p_ref;
    if v_id is null then
        insert into billing_ledgeraccount (kind, ref, purse_id) values (p_kind, p_ref, p_purse)
        on conflict (kind, ref) do nothing;
        select id into strict v_id from billing_ledgeraccount where kind = p_kind and ref = p_ref;
    end if;
    return v_id;
end $$;

create function billing_purse_account(p_kind text, p_purse bigint) returns bigint language sql as $$
    select billing_account(p_kind, 'purse:' || p_purse, p_purse)
$$;

-- Writes one entry with its transfers (line i: amount i from debit i to credit i) and moves the purses' balances.
-- True when it was written now, false when the same key with the same lines stood there already; MP001 when the key
-- stood there with other lines. Callers hold the lock of every purse that the lines touch.
create function billing_post(
    p_key text, p_kind text, p_property bigint, p_debits bigint[], p_credits bigint[], p_amounts bigint[],
    p_happened_at timestamptz, p_trace text, p_actor bigint, p_reason text, p_now timestamptz
) returns boolean language plpgsql as $$
declare
    v_digest text := md5(p_debits::text || p_credits::text || p_amounts::text);
    v_entry bigint;
begin
    perform set_config('meterpay.ledger', 'open', true);
    insert into billing_journalentry
        (key, kind, property_id, digest, happened_at, posted_at, trace, actor_id, reason)
    values (p_key, p_kind, p_property, v_digest, p_happened_at, p_now, p_trace, p_actor, p_reason)
    on conflict (key) do nothing
    returning id into v_entry;

    if v_entry is null then
        perform set_config('meterpay.ledger', '', true);
        if exists (select from billing_journalentry where key = p_key and digest = v_digest) then
            return false;
        end if;
        raise exception 'entry % stands with other lines', p_key using errcode = 'MP001';
    end if;

    insert into billing_transfer (entry_id, line, debit_id, credit_id, amount_fen)
    select v_entry, line, debit, credit, amount
      from unnest(p_debits, p_credits, p_amounts) with ordinality as lines (debit, credit, amount, line);

    update billing_purse p
       set paid_fen = p.paid_fen + moved.paid, subsidy_fen = p.subsidy_fen + moved.subsidy,
           in_transit_fen = p.in_transit_fen + moved.in_transit, in_meter_fen = p.in_meter_fen + moved.in_meter
      from (select a.purse_id,
                   coalesce(sum(m.fen) filter (where a.kind = 'paid'), 0) as paid,
                   coalesce(sum(m.fen) filter (where a.kind = 'subsidy'), 0) as subsidy,
                   coalesce(sum(m.fen) filter (where a.kind = 'in_transit'), 0) as in_transit,
                   coalesce(sum(m.fen) filter (where a.kind = 'in_meter'), 0) as in_meter
              from billing_transfer t
              cross join lateral (values (t.credit_id, t.amount_fen), (t.debit_id, -t.amount_fen)) m (account, fen)
              join billing_ledgeraccount a on a.id = m.account
             where t.entry_id = v_entry and a.purse_id is not null
             group by a.purse_id) moved
     where p.id = moved.purse_id;
    perform set_config('meterpay.ledger', '', true);
    return true;
end $$;
"""
POST_BACK = """
drop function billing_post(text, text, bigint, bigint[], bigint[], bigint[], timestamptz, text, bigint, text, timestamptz);
drop function billing_purse_account(text, bigint);
drop function billing_account(text, text, bigint);
"""

SUPPLY = """
-- Decides for the home that draws on a purse whether power is wanted, and tells its meters. The verdict is one of
--   hold_open, hold_closed  staff hold it, stronger than money
--   paid                    the available balance is above zero
--   spent                   nothing is left and the property has recorded on what basis it may cut
--   spared                  nothing is left, but nobody may cut (no recorded basis, or a payment is being found out)
--   none                    nobody draws on this purse now (the tenancy has ended, or it is a property's own)
create function billing_decide_supply(p_purse bigint, p_trace text, p_now timestamptz)
returns text language plpgsql as $$
declare
    v_room bigint;
    v_property bigint;
    v_available bigint;
    v_hold text;
    v_verdict text;
    v_may_cut boolean := true;
    v_wanted text;
    v_meter record;
begin
    select t.room_id, p.property_id, p.paid_fen + p.subsidy_fen, h.position into v_room, v_property, v_available, v_hold
      from billing_purse p
      join accounts_tenancy t on t.id = p.tenancy_id
      left join billing_staffhold h
        on h.room_id = t.room_id and h.lifted_at is null and (h.until_at is null or h.until_at > p_now)
     where p.id = p_purse and t.starts_at <= p_now and (t.ends_at is null or t.ends_at > p_now);
    if not found then
        return 'none';
    end if;
    update billing_purse set decided_at = p_now where id = p_purse;  -- billing/changes.py looks for what came later

    if v_hold is not null then
        v_verdict := 'hold_' || v_hold;
    elsif v_available > 0 then
        v_verdict := 'paid';
    else
        v_may_cut := exists (select from billing_supplypolicy where property_id = v_property);
        if v_may_cut and not exists (select from billing_cuthold where purse_id = p_purse and expires_at > p_now) then
            v_verdict := 'spent';
        else
            v_verdict := 'spared';
        end if;
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
            v_wanted := coalesce(v_hold, 'auto');
        elsif v_verdict in ('spent', 'hold_open') then
            v_wanted := 'open';
        elsif v_verdict = 'spared' and v_may_cut and exists (
                select from meters_level where meter_id = v_meter.id and kind = 'relay'
                   and wanted = 'open' and reason in ('spent', 'spared')) then
            v_wanted := 'open';  -- it was cut for this debt before; finding out about a payment restores nothing yet
        else
            v_wanted := 'closed';
        end if;
        perform meters_want(v_meter.id, 'relay', v_wanted, v_verdict, p_trace, p_now);
        if v_meter.balance_held_by = 'server' and v_meter.has_display then
            perform meters_want(v_meter.id, 'show', v_available::text, v_verdict, p_trace, p_now);
        end if;
    end loop;
    return v_verdict;
end $$;

-- Money reaches a purse: from a provider's clearing account, the counter's cash box or suspense. A debt is paid back
-- first; what is left goes on to the meter where the meter holds the money. Then supply is decided.
-- True when credited now, false when this key was credited before.
create function billing_top_up(
    p_key text, p_kind text, p_purse bigint, p_amount_fen bigint, p_from_kind text, p_from_ref text, p_meter bigint,
    p_happened_at timestamptz, p_trace text, p_actor bigint, p_reason text, p_now timestamptz
) returns boolean language plpgsql as $$
declare
    v_purse billing_purse;
    v_meter bigint;
    v_onward bigint := 0;
    v_debits bigint[];
    v_credits bigint[];
    v_amounts bigint[];
begin
    select * into strict v_purse from billing_purse where id = p_purse for no key update;
    if exists (select from billing_journalentry where key = p_key) then
        -- Credited before, when the debt may have been another: the first line alone must be the same.
        if exists (select from billing_journalentry e join billing_transfer t on t.entry_id = e.id and t.line = 1
                    where e.key = p_key and t.amount_fen = p_amount_fen
                      and t.debit_id = billing_account(p_from_kind, p_from_ref, null)
                      and t.credit_id = billing_purse_account('paid', p_purse)) then
            return false;
        end if;
        raise exception 'entry % stands with other lines', p_key using errcode = 'MP001';
    end if;

    -- The chosen meter where it hangs there; the first that holds money where none was chosen, or it is gone. None once
    -- the tenancy has ended: the meter in that room is another's.
    select i.meter_id into v_meter
      from accounts_tenancy t
      join meters_installation i on i.room_id = t.room_id and i.ends_at is null
      join meters_meter m on m.id = i.meter_id
      join meters_metermodel k on k.id = m.model_id and k.balance_held_by = 'meter'
     where t.id = v_purse.tenancy_id and t.starts_at <= p_now and (t.ends_at is null or t.ends_at > p_now)
       and (p_meter is null or i.meter_id = p_meter or not exists (
            select from meters_installation chosen
             where chosen.meter_id = p_meter and chosen.room_id = t.room_id and chosen.ends_at is null))
       -- Where both kinds hang, what was not meant for a meter stays where the other draws on it.
       and (i.meter_id = p_meter or not exists (
            select from meters_installation beside
              join meters_meter bm on bm.id = beside.meter_id
              join meters_metermodel bk on bk.id = bm.model_id and bk.balance_held_by = 'server'
             where beside.room_id = t.room_id and beside.ends_at is null))
     order by i.id limit 1;
    if v_meter is not null then
        -- All that is paid and not yet in a meter: also what came before the move, or back from a meter taken down.
        v_onward := greatest(v_purse.paid_fen + p_amount_fen, 0);
    end if;

    v_debits := array[billing_account(p_from_kind, p_from_ref, null)];
    v_credits := array[billing_purse_account('paid', p_purse)];
    v_amounts := array[p_amount_fen];
    if v_onward > 0 then
        v_debits := v_debits || billing_purse_account('paid', p_purse);
        v_credits := v_credits || billing_purse_account('in_transit', p_purse);
        v_amounts := v_amounts || v_onward;
    end if;
    perform billing_post(p_key, p_kind, v_purse.property_id, v_debits, v_credits, v_amounts,
                         p_happened_at, p_trace, p_actor, p_reason, p_now);
    if v_onward > 0 then
        perform meters_queue_top_up(p_key, v_meter, v_purse.tenancy_id, v_onward, p_trace, p_now);
    end if;
    perform billing_decide_supply(p_purse, p_trace, p_now);
    return true;
end $$;
"""
SUPPLY_BACK = """
drop function billing_top_up(text, text, bigint, bigint, text, text, bigint, timestamptz, text, bigint, text, timestamptz);
drop function billing_decide_supply(bigint, text, timestamptz);
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_tables"), ("billing", "0001_tables"), ("meters", "0003_wishes")]

    operations = [
        migrations.RunSQL(GUARD, GUARD_BACK),
        migrations.RunSQL(POST, POST_BACK),
        migrations.RunSQL(SUPPLY, SUPPLY_BACK),
    ]
