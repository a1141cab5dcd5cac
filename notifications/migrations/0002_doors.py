"""The two doors as functions, so that a floor above can leave a row inside its own single statement."""

from __future__ import annotations

from django.db import migrations

DOORS = """
create function notifications_leave(
    p_key text, p_kind text, p_property bigint, p_tenancy bigint, p_context jsonb, p_now timestamptz
) returns void language sql as $$
    insert into notifications_message (key, kind, property_id, tenancy_id, context, state, left_at)
    values (p_key, p_kind, p_property, p_tenancy, p_context, 'waiting', p_now)
    on conflict (key) do nothing
$$;

create function notifications_raise_item(
    p_key text, p_kind text, p_property bigint, p_detail jsonb, p_trace text, p_now timestamptz
) returns void language sql as $$
    insert into notifications_workitem
        (key, kind, property_id, detail, trace, state, times, raised_at, last_raised_at, resolution)
    values (p_key, p_kind, p_property, p_detail, p_trace, 'open', 1, p_now, p_now, '')
    on conflict (key) where state = 'open'
    do update set times = notifications_workitem.times + 1, last_raised_at = p_now, detail = excluded.detail
$$;
"""
BACK = """
drop function notifications_raise_item(text, text, bigint, jsonb, text, timestamptz);
drop function notifications_leave(text, text, bigint, bigint, jsonb, timestamptz);
"""


class Migration(migrations.Migration):
    dependencies = [("notifications", "0001_tables")]

    operations = [migrations.RunSQL(DOORS, BACK)]
