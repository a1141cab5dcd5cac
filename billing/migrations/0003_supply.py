"""Three corrections to what a recharge and a decision do.

* Money for a purse whose tenancy has ended, or not begun, stays in the purse: the meter in that room is another's.
* Money for a meter that was taken down since goes to the one that hangs there now, instead of nowhere.
* A home that was held off by hand comes back when the hold is lifted, even with nothing left, where nobody may cut.
  Without a recorded basis a "spared" home is always wanted on; a payment that is being found out about keeps a home
  off that was cut for its debt, and cuts nobody.

And several meters of one room are locked in the levels' primary-key order, as the intake does, before any command.
"""

from __future__ import annotations

from importlib import import_module

from django.db import migrations

DECIDE = """
create or replace function billing_decide_supply(p_purse bigint, p_trace text, p_now timestamptz)
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
    select t.room_id, p.property_id, p.paid_fen + p.subsidy_fen into v_room, v_property, v_available
      from billing_purse p join accounts_tenancy t on t.id = p.tenancy_id
     where p.id = p_purse and t.starts_at <= p_now and (t.ends_at is null or t.ends_at > p_now);
    if not found then
        return 'none';
    end if;
    select position into v_hold from billing_staffhold
     where room_id = v_room and lifted_at is null and (until_at is null or until_at > p_now);

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
"""

_BEFORE = import_module("billing.migrations.0002_ledger").SUPPLY.replace("create function", "create or replace function")
_OLD_METER = """
     where t.id = v_purse.tenancy_id and (p_meter is null or i.meter_id = p_meter)
     order by i.id limit 1;
"""
# The chosen meter where it hangs there; the first that holds money where none was chosen, or the chosen one is gone.
_NEW_METER = """
     where t.id = v_purse.tenancy_id and t.starts_at <= p_now and (t.ends_at is null or t.ends_at > p_now)
       and (p_meter is null or i.meter_id = p_meter or not exists (
            select from meters_installation chosen
             where chosen.meter_id = p_meter and chosen.room_id = t.room_id and chosen.ends_at is null))
     order by i.id limit 1;
"""
TOP_UP = "create or replace function billing_top_up" + _BEFORE.split("create or replace function billing_top_up")[1]
if _OLD_METER not in TOP_UP:
    raise RuntimeError("0002_ledger is not as this migration knows it")
TOP_UP = TOP_UP.replace(_OLD_METER, _NEW_METER)


class Migration(migrations.Migration):
    dependencies = [("billing", "0002_ledger")]

    operations = [migrations.RunSQL(DECIDE + TOP_UP, _BEFORE)]
