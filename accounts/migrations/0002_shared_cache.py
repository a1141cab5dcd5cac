"""The table behind the shared cache (the vendors' tokens, rate limits): no second command for operators to forget."""

from __future__ import annotations

from django.db import migrations

TABLE = """
create table shared_cache (
    cache_key varchar(255) not null primary key,
    value text not null,
    expires timestamptz not null
);
create index shared_cache_expires on shared_cache (expires);
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_tables")]

    operations = [migrations.RunSQL(TABLE, "drop table shared_cache")]
