"""Readings: one table of partitions by month, since a year of them is a thousand times everything else."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

# Months begin at Asia/Shanghai midnight. The default partition takes what no month was made for (a meter whose clock
# is far off), so that no reading is ever refused for want of a partition; meters/partitions.py makes months ahead.
TABLE = """
create table meters_reading (
    meter_id bigint not null,
    read_at timestamptz not null,
    property_id bigint not null,
    received_at timestamptz not null,
    import_wh bigint not null,
    power_w integer,
    balance_fen bigint,
    relay varchar(10) not null,
    primary key (meter_id, read_at)
) partition by range (read_at);
create table meters_reading_default partition of meters_reading default;
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_tables"), ("meters", "0001_tables")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(TABLE, "drop table meters_reading")],
            state_operations=[
        migrations.CreateModel(
                    name='Reading',
                    fields=[
                        ('pk', models.CompositePrimaryKey('meter_id', 'read_at', blank=True, editable=False, primary_key=True, serialize=False)),
                        ('read_at', models.DateTimeField()),
                        ('received_at', models.DateTimeField()),
                        ('import_wh', models.BigIntegerField()),
                        ('power_w', models.IntegerField(null=True)),
                        ('balance_fen', models.BigIntegerField(null=True)),
                        ('relay', models.CharField(max_length=10)),
                        ('meter', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='readings', to='meters.meter')),
                        ('property', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='accounts.property')),
                    ],
                    options={
                        'verbose_name': 'reading',
                        'verbose_name_plural': 'readings',
                    },
                ),
            ],
        ),
    ]
