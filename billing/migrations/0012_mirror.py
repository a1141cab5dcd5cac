import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


STAYS = """
create trigger meter_money_is_append_only before update or delete on billing_metermoney
    for each row execute function billing_refuse_change();
"""
STAYS_NOT = "drop trigger meter_money_is_append_only on billing_metermoney;"


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0003_one_at_a_time'),
        ('billing', '0011_supply_tables'),
        ('meters', '0009_parameters'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name='dispute',
            name='key',
            field=models.CharField(default='', max_length=96, unique=True, verbose_name='key'),
            preserve_default=False,  # nothing opened a dispute before
        ),
        migrations.AlterField(
            model_name='doubt',
            name='reason',
            field=models.CharField(choices=[('decrease', 'Decrease'), ('jump', 'Jump'), ('period_decrease', 'Period Decrease'), ('ruled_out', 'Ruled Out')], max_length=16),
        ),
        migrations.CreateModel(
            name='MeterMoney',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(max_length=96, unique=True, verbose_name='key')),
                ('kind', models.CharField(choices=[('elsewhere', 'bought elsewhere'), ('taken_out', 'taken out of the meter'), ('accepted', 'the meter is right')], max_length=12, verbose_name='kind')),
                ('number', models.IntegerField(blank=True, null=True, verbose_name='purchase number')),
                ('amount_fen', models.BigIntegerField(verbose_name='amount, fen')),
                ('happened_at', models.DateTimeField(verbose_name='happened')),
                ('entered_at', models.DateTimeField(verbose_name='entered')),
                ('reason', models.CharField(max_length=255, verbose_name='reason')),
                ('entered_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='entered by')),
                ('installation', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='money', to='meters.installation', verbose_name='installation')),
                ('property', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.property', verbose_name='property')),
            ],
            options={
                'verbose_name': 'money past our top-ups',
                'verbose_name_plural': 'money past our top-ups',
                'constraints': [models.CheckConstraint(condition=models.Q(('reason', ''), _negated=True), name='meter_money_has_a_reason'), models.CheckConstraint(condition=models.Q(models.Q(('amount_fen__gt', 0), ('kind', 'elsewhere')), models.Q(('amount_fen__lt', 0), ('kind', 'taken_out')), models.Q(('amount_fen', 0), ('kind', 'accepted')), _connector='OR'), name='meter_money_goes_where_it_says'), models.UniqueConstraint(condition=models.Q(('number__isnull', False)), fields=('installation', 'number'), name='a_foreign_purchase_has_its_number')],
            },
        ),
        migrations.CreateModel(
            name='MirroredDay',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('usage_date', models.DateField(verbose_name='date')),
                ('read_at', models.DateTimeField(blank=True, null=True, verbose_name='reading behind it')),
                ('purchase_count', models.IntegerField(blank=True, null=True, verbose_name='purchase count')),
                ('balance_fen', models.BigIntegerField(blank=True, null=True, verbose_name='balance in the meter, fen')),
                ('used_fen', models.BigIntegerField(verbose_name='used so far, fen')),
                ('charged_fen', models.BigIntegerField(verbose_name='taken by the meter, fen')),
                ('ours_nano', models.BigIntegerField(verbose_name='by our tariff, nano-fen')),
                ('mirrored_at', models.DateTimeField(verbose_name='mirrored')),
                ('draw', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='mirrored_days', to='billing.draw', verbose_name='usage')),
                ('installation', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='mirrored_days', to='meters.installation', verbose_name='installation')),
                ('property', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.property', verbose_name='property')),
            ],
            options={
                'verbose_name': 'day of a meter with its own money',
                'verbose_name_plural': 'days of meters with their own money',
                'indexes': [models.Index(fields=['installation', '-id'], name='mirrored_days_of_a_meter')],
                'constraints': [models.UniqueConstraint(fields=('draw', 'usage_date'), name='a_day_is_mirrored_once')],
            },
        ),
        migrations.RunSQL(STAYS, STAYS_NOT),
    ]
