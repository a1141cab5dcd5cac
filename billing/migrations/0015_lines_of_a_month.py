"""What a month's bill shows is summed as days are closed: Wh by version, tier, period and price."""

from __future__ import annotations

from django.db import migrations, models

# Plan: all days once, at the upgrade.
FROM_DAYS = """
update billing_usagemonth m set line_wh = s.line_wh
  from (select draw_id, month_date, jsonb_object_agg(name, wh) as line_wh
          from (select d.draw_id, date_trunc('month', d.usage_date)::date as month_date,
                       concat_ws(':', line ->> 'version', line ->> 'tier', line ->> 'period', line ->> 'price', line ->> 'fee')
                           as name,
                       sum((line ->> 'energy_wh')::bigint) as wh
                  from billing_usageday d cross join lateral jsonb_array_elements(d.lines) line
                 group by 1, 2, 3) named
         group by 1, 2) s
 where s.draw_id = m.draw_id and s.month_date = m.month_date
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0014_decide")]

    operations = [
        migrations.AddField("usagemonth", "line_wh", models.JSONField(default=dict)),
        migrations.RunSQL(FROM_DAYS, migrations.RunSQL.noop),
    ]
