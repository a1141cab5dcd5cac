"""What Django cannot say of tariffs and usage: months of days, rows that are rewritten in place, rows that stay."""

from __future__ import annotations

from django.db import migrations

# Days of usage live by the month, as readings do: a million homes make 365 million a year. The default partition takes
# what no month was made for.
DAYS = """
drop table billing_usageday;
create table billing_usageday (
    draw_id bigint not null,
    usage_date date not null,
    property_id bigint not null,
    purse_id bigint not null,
    revision integer not null,
    opens_at timestamptz not null,
    opens_wh bigint not null,
    closes_at timestamptz not null,
    closes_wh bigint not null,
    cycle_before_wh bigint not null,
    energy_wh bigint not null,
    cost_nano bigint not null,
    fee_nano bigint not null,
    slot_wh integer[] not null,
    lines jsonb not null,
    notes jsonb not null,
    posted_fen bigint not null,
    is_frozen boolean not null,
    primary key (draw_id, usage_date)
) partition by range (usage_date);
create table billing_usageday_default partition of billing_usageday default;
create index days_of_a_purse on billing_usageday (purse_id, usage_date);
create index days_of_a_property on billing_usageday (property_id, usage_date);
"""

# A draw is written for each reading of its meter, a purse for each recharge: with room in the page and no index on what
# changes, the new version lies beside the old one and no index learns of it.
ROOM_TO_GROW = """
alter table billing_draw set (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02);
alter table billing_purse set (fillfactor = 80);
alter table meters_meter set (fillfactor = 70);
"""
ROOM_BACK = """
alter table meters_meter reset (fillfactor);
alter table billing_purse reset (fillfactor);
alter table billing_draw reset (fillfactor, autovacuum_vacuum_scale_factor);
"""

STAYS = """
create function billing_refuse_new_prices() returns trigger language plpgsql as $$
begin
    raise exception 'a published tariff version stays as it is: % refused', tg_op using errcode = 'MP003';
end $$;
create trigger published_prices_stay before update on billing_tariffversion
    for each row
    when (old.state <> 'draft' and (old.tariff_id, old.number, old.starts_date, old.definition, old.is_provisional)
          is distinct from (new.tariff_id, new.number, new.starts_date, new.definition, new.is_provisional))
    execute function billing_refuse_new_prices();
create trigger published_versions_stay before delete on billing_tariffversion
    for each row when (old.state <> 'draft') execute function billing_refuse_new_prices();
create trigger revisions_are_append_only before update or delete on billing_usagerevision
    for each row execute function billing_refuse_change();
create trigger mark_ups_are_append_only before update or delete on billing_markup
    for each row execute function billing_refuse_change();
"""
STAYS_BACK = """
drop trigger mark_ups_are_append_only on billing_markup;
drop trigger revisions_are_append_only on billing_usagerevision;
drop trigger published_versions_stay on billing_tariffversion;
drop trigger published_prices_stay on billing_tariffversion;
drop function billing_refuse_new_prices();
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0004_tariffs_and_usage"), ("meters", "0007_readings_grow")]

    operations = [
        migrations.RunSQL(DAYS, migrations.RunSQL.noop),
        migrations.RunSQL(ROOM_TO_GROW, ROOM_BACK),
        migrations.RunSQL(STAYS, STAYS_BACK),
    ]
