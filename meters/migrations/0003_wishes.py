"""Wishes become rows inside the caller's transaction: levels with their commands, and the queue of top-ups.

Lock order within meters: Level, then TopUp, then Command; several in primary-key order. Whoever calls holds the
Order and the Purse already, where there is one.
"""

from __future__ import annotations

from django.db import migrations

WISHES = """
-- The next command of a level: a new generation, in the place of one that was still queued. The level is locked.
create function meters_issue(p_level bigint, p_now timestamptz) returns void language plpgsql as $$
declare
    v record;
begin
    select l.meter_id, l.kind, m.property_id, m.is_online, m.relay_generation, k.command_ttl_s as ttl_s into strict v
      from meters_level l
      join meters_meter m on m.id = l.meter_id
      join meters_metermodel k on k.id = m.model_id
     where l.id = p_level
       for update of l;

    update meters_command set state = 'superseded'
     where meter_id = v.meter_id and kind = v.kind and state = 'queued';

    with level as (
        update meters_level
           set generation = greatest(generation, case when kind = 'relay' then v.relay_generation else 0 end) + 1,
               tries = tries + 1,
               -- The first tries follow a command's lifetime; then more and more slowly, but always again.
               next_try_at = p_now + make_interval(secs => least(v.ttl_s * power(2, least(tries, 6)), 900))
         where id = p_level
        returning wanted, generation, trace
    )
    insert into meters_command
        (id, meter_id, property_id, kind, value, generation, state, trace, queued_at, error)
    select gen_random_uuid(), v.meter_id, v.property_id, v.kind, wanted, generation, 'queued', trace, p_now, ''
      from level;

    if v.is_online then
        perform pg_notify('meterpay_commands', '');  -- nobody waits for a meter that is away
    end if;
end $$;

-- What we want of a meter from now on. True when a command had to be made for it.
create function meters_want(
    p_meter bigint, p_kind text, p_wanted text, p_reason text, p_trace text, p_now timestamptz
) returns boolean language plpgsql as $$
declare
    v_level meters_level;
    v_newest meters_command;
begin
    insert into meters_level as level
        (meter_id, kind, wanted, reason, wanted_at, trace, generation, reported, tries, next_try_at)
    values (p_meter, p_kind, p_wanted, p_reason, p_now, p_trace, 0, '', 0, p_now)
    on conflict (meter_id, kind) do update
        set wanted = excluded.wanted, reason = excluded.reason, trace = excluded.trace,
            wanted_at = case when level.wanted = excluded.wanted then level.wanted_at else p_now end,
            agreed_at = case when level.reported = excluded.wanted then coalesce(level.agreed_at, p_now) end,
            tries = 0, next_try_at = p_now
    returning * into v_level;

    -- What is out cannot be taken back. The newest is what counts: a meter refuses older ones as stale.
    select * into v_newest from meters_command
     where meter_id = p_meter and kind = p_kind and state <> 'superseded'
     order by queued_at desc, generation desc limit 1;
    if v_newest.state = 'queued' and v_newest.value <> p_wanted then
        -- A queued command of an older wish can: nobody has sent it. Then what was out before it counts.
        -- Unless a gateway claims it at this very instant: then it is out, and a newer generation must follow it.
        update meters_command set state = 'superseded' where id = v_newest.id and state = 'queued';
        select * into v_newest from meters_command
         where meter_id = p_meter and kind = p_kind and state <> 'superseded'
         order by queued_at desc, generation desc limit 1;
    end if;

    if v_newest.state = 'queued' or (v_newest.state = 'sent' and v_newest.expires_at > p_now) then
        if v_newest.value = p_wanted then
            return false;  -- it is on its way
        end if;
    elsif v_level.reported = p_wanted and (
            v_newest.id is null or v_newest.value = p_wanted or v_newest.state not in ('sent', 'expired')
            or v_level.reported_at > v_newest.expires_at) then
        return false;  -- it is so, and nothing unanswered could have changed it since the meter said so
    end if;
    perform meters_issue(v_level.id, p_now);
    return true;
end $$;

-- A recharge for a meter that holds its money joins that meter's queue. The same key again is an answer.
-- It is for that tenancy: should it end, or the meter be taken down, the money does not go to whoever comes next.
create function meters_queue_top_up(
    p_key text, p_meter bigint, p_tenancy bigint, p_amount_fen bigint, p_trace text, p_now timestamptz
) returns void language plpgsql as $$
declare
    v_online boolean;
begin
    insert into meters_topup
        (key, meter_id, tenancy_id, property_id, amount_fen, state, trace, queued_at, tries, next_try_at, note)
    select p_key, m.id, p_tenancy, m.property_id, p_amount_fen, 'waiting', p_trace, p_now, 0, p_now, ''
      from meters_meter m where m.id = p_meter
    on conflict (key) do nothing;
    select is_online into v_online from meters_meter where id = p_meter;
    if v_online then
        perform pg_notify('meterpay_commands', '');
    end if;
end $$;
"""
BACK = """
drop function meters_queue_top_up(text, bigint, bigint, bigint, text, timestamptz);
drop function meters_want(bigint, text, text, text, text, timestamptz);
drop function meters_issue(bigint, timestamptz);
"""


class Migration(migrations.Migration):
    dependencies = [("meters", "0002_readings")]

    operations = [migrations.RunSQL(WISHES, BACK)]
