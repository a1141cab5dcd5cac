"""Names of tariffs, special days and supply prices for people; the tables stay as they are."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0003_one_at_a_time'),
        ('billing', '0006_holidays'),
        ('meters', '0007_readings_grow'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='household',
            options={'verbose_name': 'household', 'verbose_name_plural': 'households'},
        ),
        migrations.AlterModelOptions(
            name='markup',
            options={'verbose_name': 'mark-up', 'verbose_name_plural': 'mark-ups'},
        ),
        migrations.AlterModelOptions(
            name='specialday',
            options={'verbose_name': 'special day', 'verbose_name_plural': 'special days'},
        ),
        migrations.AlterModelOptions(
            name='supplyprice',
            options={'verbose_name': 'supply price', 'verbose_name_plural': 'supply prices'},
        ),
        migrations.AlterModelOptions(
            name='tariff',
            options={'verbose_name': 'tariff', 'verbose_name_plural': 'tariffs'},
        ),
        migrations.AlterModelOptions(
            name='tariffassignment',
            options={'verbose_name': 'tariff assignment', 'verbose_name_plural': 'tariff assignments'},
        ),
        migrations.AlterModelOptions(
            name='tariffversion',
            options={'verbose_name': 'tariff version', 'verbose_name_plural': 'tariff versions'},
        ),
        migrations.AlterField(
            model_name='household',
            name='entered_by',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='entered by'),
        ),
        migrations.AlterField(
            model_name='household',
            name='persons',
            field=models.PositiveSmallIntegerField(verbose_name='people'),
        ),
        migrations.AlterField(
            model_name='household',
            name='proof',
            field=models.CharField(blank=True, default='', max_length=255, verbose_name='proof'),
        ),
        migrations.AlterField(
            model_name='household',
            name='starts_date',
            field=models.DateField(verbose_name='first day'),
        ),
        migrations.AlterField(
            model_name='household',
            name='tenancy',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='households', to='accounts.tenancy', verbose_name='tenancy'),
        ),
        migrations.AlterField(
            model_name='markup',
            name='approved_at',
            field=models.DateTimeField(verbose_name='approved'),
        ),
        migrations.AlterField(
            model_name='markup',
            name='approved_by',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='approved by'),
        ),
        migrations.AlterField(
            model_name='markup',
            name='excess',
            field=models.JSONField(verbose_name='what exceeds'),
        ),
        migrations.AlterField(
            model_name='markup',
            name='reason',
            field=models.CharField(max_length=255, verbose_name='reason'),
        ),
        migrations.AlterField(
            model_name='markup',
            name='version',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='mark_ups', to='billing.tariffversion', verbose_name='version'),
        ),
        migrations.AlterField(
            model_name='specialday',
            name='entered_by',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='entered by'),
        ),
        migrations.AlterField(
            model_name='specialday',
            name='kind',
            field=models.CharField(choices=[('holiday', 'holiday'), ('make_up_workday', 'make-up workday'), ('ordinary', 'ordinary day')], max_length=16, verbose_name='kind'),
        ),
        migrations.AlterField(
            model_name='specialday',
            name='name',
            field=models.CharField(blank=True, default='', max_length=64, verbose_name='name'),
        ),
        migrations.AlterField(
            model_name='specialday',
            name='on_date',
            field=models.DateField(verbose_name='date'),
        ),
        migrations.AlterField(
            model_name='specialday',
            name='property',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='special_days', to='accounts.property', verbose_name='property'),
        ),
        migrations.AlterField(
            model_name='specialday',
            name='source',
            field=models.CharField(blank=True, default='', max_length=255, verbose_name='source'),
        ),
        migrations.AlterField(
            model_name='supplyprice',
            name='entered_at',
            field=models.DateTimeField(verbose_name='entered'),
        ),
        migrations.AlterField(
            model_name='supplyprice',
            name='entered_by',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='entered by'),
        ),
        migrations.AlterField(
            model_name='supplyprice',
            name='prices',
            field=models.JSONField(verbose_name='prices'),
        ),
        migrations.AlterField(
            model_name='supplyprice',
            name='property',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='supply_prices', to='accounts.property', verbose_name='property'),
        ),
        migrations.AlterField(
            model_name='supplyprice',
            name='source',
            field=models.CharField(max_length=255, verbose_name='source'),
        ),
        migrations.AlterField(
            model_name='supplyprice',
            name='starts_date',
            field=models.DateField(verbose_name='first day'),
        ),
        migrations.AlterField(
            model_name='tariff',
            name='created_at',
            field=models.DateTimeField(verbose_name='created'),
        ),
        migrations.AlterField(
            model_name='tariff',
            name='name',
            field=models.CharField(max_length=64, verbose_name='name'),
        ),
        migrations.AlterField(
            model_name='tariff',
            name='property',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='tariffs', to='accounts.property', verbose_name='property'),
        ),
        migrations.AlterField(
            model_name='tariffassignment',
            name='assigned_at',
            field=models.DateTimeField(verbose_name='assigned'),
        ),
        migrations.AlterField(
            model_name='tariffassignment',
            name='assigned_by',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='assigned by'),
        ),
        migrations.AlterField(
            model_name='tariffassignment',
            name='building',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.building', verbose_name='building'),
        ),
        migrations.AlterField(
            model_name='tariffassignment',
            name='ends_date',
            field=models.DateField(blank=True, null=True, verbose_name='until (that day not included)'),
        ),
        migrations.AlterField(
            model_name='tariffassignment',
            name='meter',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='meters.meter', verbose_name='meter'),
        ),
        migrations.AlterField(
            model_name='tariffassignment',
            name='property',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='tariff_assignments', to='accounts.property', verbose_name='property'),
        ),
        migrations.AlterField(
            model_name='tariffassignment',
            name='reason',
            field=models.CharField(blank=True, default='', max_length=255, verbose_name='reason'),
        ),
        migrations.AlterField(
            model_name='tariffassignment',
            name='room',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.room', verbose_name='room'),
        ),
        migrations.AlterField(
            model_name='tariffassignment',
            name='starts_date',
            field=models.DateField(verbose_name='first day'),
        ),
        migrations.AlterField(
            model_name='tariffassignment',
            name='tariff',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='assignments', to='billing.tariff', verbose_name='tariff'),
        ),
        migrations.AlterField(
            model_name='tariffversion',
            name='definition',
            field=models.JSONField(verbose_name='definition'),
        ),
        migrations.AlterField(
            model_name='tariffversion',
            name='is_provisional',
            field=models.BooleanField(default=False, verbose_name='provisional'),
        ),
        migrations.AlterField(
            model_name='tariffversion',
            name='number',
            field=models.PositiveSmallIntegerField(verbose_name='number'),
        ),
        migrations.AlterField(
            model_name='tariffversion',
            name='published_at',
            field=models.DateTimeField(blank=True, null=True, verbose_name='when published'),
        ),
        migrations.AlterField(
            model_name='tariffversion',
            name='published_by',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='published by'),
        ),
        migrations.AlterField(
            model_name='tariffversion',
            name='reason',
            field=models.CharField(blank=True, default='', max_length=255, verbose_name='reason'),
        ),
        migrations.AlterField(
            model_name='tariffversion',
            name='replaces',
            field=models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='replaced_by', to='billing.tariffversion', verbose_name='replaces'),
        ),
        migrations.AlterField(
            model_name='tariffversion',
            name='slots_until_date',
            field=models.DateField(blank=True, null=True, verbose_name='laid out until'),
        ),
        migrations.AlterField(
            model_name='tariffversion',
            name='starts_date',
            field=models.DateField(verbose_name='first day'),
        ),
        migrations.AlterField(
            model_name='tariffversion',
            name='state',
            field=models.CharField(choices=[('draft', 'draft'), ('published', 'published'), ('replaced', 'replaced'), ('withdrawn', 'withdrawn')], default='draft', max_length=9, verbose_name='state'),
        ),
        migrations.AlterField(
            model_name='tariffversion',
            name='tariff',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='versions', to='billing.tariff', verbose_name='tariff'),
        ),
    ]
