"""A level's commands are queued in the order of their generations, whatever the clocks of those who wish say.

A transaction reads its clock before it waits for the purse and the level: the later wish may carry the earlier instant,
and the command before it then looked like the newest. Only `queued_at` differs from 0005.
"""

from __future__ import annotations

from django.db import migrations

ISSUE = """
-- The next command of a level: a new generation, in the place of one that was still queued. Whoever calls holds the
-- level's lock. With a wish, the level takes it on in the same write; without one it is tried again.
create or replace function meters_issue(
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
        select gen_random_uuid(), meter_id, property_id, kind, wanted, generation, 'queued', trace, QUEUED_AT, ''
          from level
    )
    select is_online into strict v_is_online from level;
    if v_is_online then
        perform pg_notify('meterpay_commands', '');  -- nobody waits for a meter that is away
    end if;
end $$;
"""
# Never before the one before it; where both are equal, generations decide (meters_want, desired.py). The caller holds
# the level, so nobody queues one beside it. Plan: commands_of_a_meter, newest first, to the first of its kind.
IN_ORDER = """greatest(p_now, (
                   select c.queued_at from meters_command c
                    where c.meter_id = level.meter_id and c.kind = level.kind
                    order by c.queued_at desc limit 1))"""


class Migration(migrations.Migration):
    dependencies = [("meters", "0007_readings_grow")]

    operations = [migrations.RunSQL(ISSUE.replace("QUEUED_AT", IN_ORDER), ISSUE.replace("QUEUED_AT", "p_now"))]
