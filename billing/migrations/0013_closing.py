"""Draws that have ended and have days to close are found by an index: each ten seconds somebody asks for them.

Rating writes none of these columns, so a draw's new version still lies beside the old one.
"""

from __future__ import annotations

from django.db import migrations

ENDED = """
create index draws_ended_to_close on billing_draw (closed_until)
 where ends_at is not null and (closed_until::timestamp at time zone 'Asia/Shanghai') < ends_at
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0012_mirror")]

    operations = [migrations.RunSQL(ENDED, "drop index draws_ended_to_close")]
