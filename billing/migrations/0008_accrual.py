"""What rating asks of the database: the meters with new readings, told so that the planner expects thousands."""

from __future__ import annotations

from django.db import migrations

# As a plain unnest the planner expects ten rows of it, joins by nested loops, and rating takes 2.6 ms a reading instead
# of 15 us. A function that says how many rows it gives is believed.
FRESH = """
create function billing_fresh(p_batches bigint[]) returns table (meter_id bigint, from_at timestamptz)
language plpgsql stable rows 5000 as $$
begin
    return query
        select f.meter, min(f.since)
          from meters_batch b, unnest(b.meter_ids, b.from_at) f (meter, since)
         where b.id = any(p_batches)
         group by f.meter;
end $$;
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0005_usage_guards"), ("meters", "0007_readings_grow")]

    operations = [migrations.RunSQL(FRESH, "drop function billing_fresh(bigint[])")]
