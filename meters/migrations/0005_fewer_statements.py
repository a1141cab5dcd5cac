"""A wish takes one write of its level instead of two, and a command is made in one statement with it.

A level that was written twice within one recharge left four versions and their index entries behind; now it is locked,
looked at, and written once. What is said and done stays as it was in 0003.
"""

from __future__ import annotations

from importlib import import_module

from django.db import migrations

WISHES = """
drop function meters_issue(bigint, timestamptz);

-- The next command of a level: a new generation, in the place of one that was still queued. Whoever calls holds the
-- level's lock. With a wish, the level takes it on in the same write; without one it is tried again.
create function meters_issue(
    p_level bigint, p_now timestamptz,
    p_wanted text default null, p_reason text default null, p_trace text default null
) returns void language plpgsql as $$
declare
    v_is_online boolean;
begin
    update meters_command c set state = 'superseded'
      from meters_level l
     where l.id = p_level and c.meter_id = l.meter_id and c.kind = l.kind and c.state = 'queued';

    with level as (
        update meters_level l
           set wanted = coalesce(p_wanted, l.wanted), reason = coalesce(p_reason, l.reason),
               trace = coalesce(p_trace, l.trace),
               wanted_at = case when l.wanted <> p_wanted then p_now else l.wanted_at end,
               agreed_at = case when p_wanted is null then l.agreed_at
                                when l.reported = p_wanted then coalesce(l.agreed_at, p_now) end,
               generation = greatest(l.generation, case when l.kind = 'relay' then m.relay_generation else 0 end) + 1,
               tries = tried.times + 1,
               -- The first tries follow a command's lifetime; then more and more slowly, but always again.
               next_try_at = p_now + make_interval(secs => least(k.command_ttl_s * power(2, least(tried.times, 6)), 900))
          from meters_level old
          join meters_meter m on m.id = old.meter_id
          join meters_metermodel k on k.id = m.model_id
         cross join lateral (select case when p_wanted is null then old.tries else 0 end as times) tried
         where old.id = p_level and l.id = p_level
        returning l.meter_id, m.property_id, m.is_online, l.kind, l.wanted, l.generation, l.trace
    ), command as (
        insert into meters_command
            (id, meter_id, property_id, kind, value, generation, state, trace, queued_at, error)
        select gen_random_uuid(), meter_id, property_id, kind, wanted, generation, 'queued', trace, p_now, ''
          from level
    )
    select is_online into strict v_is_online from level;
    if v_is_online then
        perform pg_notify('meterpay_commands', '');  -- nobody waits for a meter that is away
    end if;
end $$;

-- What we want of a meter from now on. True when a command had to be made for it.
create or replace function meters_want(
    p_meter bigint, p_kind text, p_wanted text, p_reason text, p_trace text, p_now timestamptz
) returns boolean language plpgsql as $$
declare
    v_level meters_level;
    v_newest meters_command;
    v_is_due boolean;
begin
    select * into v_level from meters_level where meter_id = p_meter and kind = p_kind for no key update;
    if not found then
        insert into meters_level
            (meter_id, kind, wanted, reason, wanted_at, trace, generation, reported, tries, next_try_at)
        values (p_meter, p_kind, p_wanted, p_reason, p_now, p_trace, 0, '', 0, p_now)
        on conflict (meter_id, kind) do nothing;
        select * into strict v_level from meters_level where meter_id = p_meter and kind = p_kind for no key update;
    end if;

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
        v_is_due := v_newest.value <> p_wanted;  -- else it is on its way
    else
        -- Where it is so, it stays so unless something unanswered may have changed it since the meter said so.
        v_is_due := v_level.reported <> p_wanted or not (
            v_newest.id is null or v_newest.value = p_wanted or v_newest.state not in ('sent', 'expired')
            or coalesce(v_level.reported_at > v_newest.expires_at, false));
    end if;
    if v_is_due then
        perform meters_issue(v_level.id, p_now, p_wanted, p_reason, p_trace);
        return true;
    end if;
    update meters_level
       set wanted = p_wanted, reason = p_reason, trace = p_trace,
           wanted_at = case when wanted = p_wanted then wanted_at else p_now end,
           agreed_at = case when reported = p_wanted then coalesce(agreed_at, p_now) end,
           tries = 0, next_try_at = p_now
     where id = v_level.id;
    return false;
end $$;
"""
BACK = "drop function meters_issue(bigint, timestamptz, text, text, text);" + import_module(
    "meters.migrations.0003_wishes"
).WISHES.replace("create function", "create or replace function")


class Migration(migrations.Migration):
    dependencies = [("meters", "0004_one_at_a_time")]

    operations = [migrations.RunSQL(WISHES, BACK)]
