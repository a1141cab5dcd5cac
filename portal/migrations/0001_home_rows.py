"""What a home's picture is made of, in one statement that is planned once a connection (portal/home_rows.py)."""

from django.db import migrations

ROWS = """
select m.role, to_jsonb(t) as tenancy, to_jsonb(r) as room, to_jsonb(b) as building, to_jsonb(o) as property,
       to_jsonb(p) as purse, billing_available_fen(p.id) as available_fen,
       (select x.frozen_nano from billing_dispute x where x.purse_id = p.id and x.state = 'open' limit 1)
         as disputed_nano,
       (select jsonb_agg(jsonb_build_array(a.level, a.raised_at) order by a.id)
          from billing_alert a where a.purse_id = p.id and a.over_at is null) as low,
       (select jsonb_agg(jsonb_build_object('meter', to_jsonb(e), 'model', to_jsonb(k), 'relay', to_jsonb(l))
                         order by e.id)
          from meters_installation i
          join meters_meter e on e.id = i.meter_id
          join meters_metermodel k on k.id = e.model_id
          left join meters_level l on l.meter_id = e.id and l.kind = 'relay'
         where i.room_id = t.room_id and i.ends_at is null) as meters,
       (select to_jsonb(h) from billing_staffhold h
         where h.room_id = t.room_id and h.lifted_at is null and (h.until_at is null or h.until_at > p_now)
         order by h.id desc limit 1) as hold,
       (select jsonb_agg(jsonb_build_object('counted_by', d.counted_by, 'last_at', d.last_at, 'ends_at', d.ends_at,
                                            'day_nano', d.day_nano, 'version_id', d.version_id) order by d.id)
          from billing_draw d where d.purse_id = p.id) as draws,
       (select jsonb_agg(jsonb_build_array(n.usage_date, n.nano) order by n.usage_date)
          from (select u.usage_date, sum(u.cost_nano + u.fee_nano) as nano
                  from billing_draw d join billing_usageday u on u.draw_id = d.id
                 where d.purse_id = p.id and u.usage_date >= p_since
                 group by u.usage_date) n) as days,
       (select jsonb_agg(jsonb_build_array(v.id, s.starts_at, s.ends_at, s.period, s.prices, s.limits_wh, s.fee)
                         order by s.starts_at)
          from billing_tariffversion v
          join billing_tariffversion w on w.tariff_id = v.tariff_id
          join billing_priceslot s on s.version_id = w.id and s.starts_at >= p_from and s.starts_at < p_to
         where v.id in (select d.version_id from billing_draw d where d.purse_id = p.id and d.ends_at is null)) as slots
  from accounts_member m
  join accounts_tenancy t on t.id = m.tenancy_id
  join accounts_room r on r.id = t.room_id
  join accounts_building b on b.id = r.building_id
  join accounts_property o on o.id = b.property_id
  left join billing_purse p on p.tenancy_id = t.id
 where m.user_id = p_user and m.left_at is null and t.starts_at <= p_now
   and (t.ends_at is null or t.ends_at > p_now) and {whose}
 order by t.id
"""
MAKE = f"""
create function portal_home_rows(p_user bigint, p_home bigint, p_now timestamptz, p_from timestamptz, p_to timestamptz,
                                 p_since date)
returns setof jsonb language plpgsql stable as $$
begin
  if p_home is null then
    return query select to_jsonb(row_of) from ({ROWS.format(whose="true")}) row_of;
  else
    return query select to_jsonb(row_of) from ({ROWS.format(whose="t.id = p_home")}) row_of;
  end if;
end $$
"""
DROP = "drop function portal_home_rows(bigint, bigint, timestamptz, timestamptz, timestamptz, date)"


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0005_the_tenants_side"),
        ("billing", "0017_told"),
        ("meters", "0012_codes_on_labels"),
    ]

    operations = [migrations.RunSQL(MAKE, DROP)]
