"""Many homes' wishes in a few statements, for payments that are confirmed together."""

from __future__ import annotations

from django.db import migrations

# What meters_want and meters_issue (0005, 0008) do one by one, in five statements for all. It waits for nobody: a home
# of whose levels one is locked elsewhere, or has an older wish still queued, is left out, whole, to be told alone.
#
# Plan: each level, meter and newest command by index, nested loops whatever the size of the tables, planned once.
# Levels are locked by a statement of their own and looked at by the next.
WANT_PLAIN = """
-- One wish a line: p_homes says whose meter it is, no (meter, kind) comes twice. Returns the homes that were told.
create function meters_want_plain(
    p_homes bigint[], p_meters bigint[], p_kinds text[], p_wanted text[], p_traces text[], p_reason text,
    p_now timestamptz
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
    v_due boolean[];
    v_new boolean[];
    v_told int;
    v_rings boolean;
begin
    v_held := array(
        select id from meters_level where meter_id = any(p_meters) and kind = any(p_kinds)
         order by id for no key update skip locked);

    -- The newest command is what counts, and whether it is due is told as in meters_want.
    with wish as (
        select w.*, l.id is null as is_new,
               l.id is null or l.id = any(v_held) and not (n.state = 'queued' and n.value <> w.wanted) is true as is_plain,
               case when n.state = 'queued' or n.state = 'sent' and n.expires_at > p_now then n.value <> w.wanted
                    else l.id is null or l.reported <> w.wanted or not (
                        n.id is null or n.value = w.wanted or n.state not in ('sent', 'expired')
                        or coalesce(l.reported_at > n.expires_at, false)) end as is_due
          from unnest(p_homes, p_meters, p_kinds, p_wanted, p_traces) w (home, meter, kind, wanted, trace)
          left join meters_level l on l.meter_id = w.meter and l.kind = w.kind
          left join lateral (
               select c.id, c.state, c.value, c.expires_at from meters_command c
                where c.meter_id = w.meter and c.kind = w.kind and c.state <> 'superseded'
                order by c.queued_at desc, c.generation desc limit 1) n on true
    ), judged as (
        select *, bool_and(is_plain) over (partition by home) as is_told from wish
    )
    select array_agg(home), array_agg(meter), array_agg(kind), array_agg(wanted), array_agg(trace),
           array_agg(is_due), array_agg(is_new)
      into v_homes, v_meters, v_kinds, v_wanted, v_traces, v_due, v_new
      from judged where is_told;
    if v_homes is null then
        return;
    end if;

    if true = any(v_new) then
        insert into meters_level
            (meter_id, kind, wanted, reason, wanted_at, trace, generation, reported, tries, next_try_at)
        select meter, kind, wanted, p_reason, p_now, trace, 0, '', 0, p_now
          from unnest(v_meters, v_kinds, v_wanted, v_traces, v_new) w (meter, kind, wanted, trace, is_new)
         where is_new order by meter, kind;
    end if;
    with level as (
        update meters_level l
           set wanted = w.wanted, reason = p_reason, trace = w.trace,
               wanted_at = case when l.wanted = w.wanted then l.wanted_at else p_now end,
               agreed_at = case when l.reported = w.wanted then coalesce(l.agreed_at, p_now) end,
               generation = case when w.is_due then
                   greatest(l.generation, case when l.kind = 'relay' then m.relay_generation else 0 end) + 1
                   else l.generation end,
               tries = w.is_due::int,
               next_try_at = case when w.is_due then p_now + make_interval(secs => least(k.command_ttl_s, 900))
                                  else p_now end
          from unnest(v_meters, v_kinds, v_wanted, v_traces, v_due) w (meter, kind, wanted, trace, is_due)
          join meters_meter m on m.id = w.meter
          join meters_metermodel k on k.id = m.model_id
         where l.meter_id = w.meter and l.kind = w.kind
        returning l.meter_id, m.property_id, m.is_online, l.kind, l.wanted, l.generation, l.trace, w.is_due
    ), command as (
        insert into meters_command
            (id, meter_id, property_id, kind, value, generation, state, trace, queued_at, error)
        select gen_random_uuid(), meter_id, property_id, kind, wanted, generation, 'queued', trace, greatest(p_now, (
                   select c.queued_at from meters_command c
                    where c.meter_id = level.meter_id and c.kind = level.kind
                    order by c.queued_at desc limit 1)), ''
          from level where is_due
    )
    select count(*), bool_or(is_due and is_online) into v_told, v_rings from level;
    if v_told <> cardinality(v_meters) then
        raise exception 'a level was wished for twice, or has gone' using errcode = 'MP004';
    end if;
    if v_rings then
        perform pg_notify('meterpay_commands', '');  -- nobody waits for a meter that is away
    end if;
    return query select distinct unnest(v_homes);
end $$;
"""


class Migration(migrations.Migration):
    dependencies = [("meters", "0009_parameters")]

    operations = [
        migrations.RunSQL(
            WANT_PLAIN,
            "drop function meters_want_plain(bigint[], bigint[], text[], text[], text[], text, timestamptz)",
        )
    ]
