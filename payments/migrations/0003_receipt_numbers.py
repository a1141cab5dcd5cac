"""Receipts of the counter are numbered without gaps, and say how the money came and from whom.

What was the number (a digest of the form) becomes `form_digest`; receipts that exist are numbered in the order in which
they were made, all of them cash.
"""

from django.db import migrations, models
from django.db.models.deletion import PROTECT

NUMBER = """
update payments_counterreceipt r set form_digest = r.number, number = p.code || '-' || lpad(n.number::text, 6, '0')
  from (select id, row_number() over (partition by property_id order by id) as number from payments_counterreceipt) n,
       accounts_property p
 where n.id = r.id and p.id = r.property_id;
insert into payments_receiptnumbers (property_id, last)
select property_id, count(*) from payments_counterreceipt group by property_id;
set constraints all immediate;
"""
DIGEST_BACK = "update payments_counterreceipt set number = form_digest"


class Migration(migrations.Migration):
    dependencies = [("accounts", "0003_one_at_a_time"), ("payments", "0002_confirm")]

    operations = [
        migrations.AddField(
            "counterreceipt", "form_digest", models.CharField(default="", max_length=32), preserve_default=False
        ),
        migrations.AlterField(
            "counterreceipt", "number", models.CharField(max_length=48, unique=True, verbose_name="receipt number")
        ),
        migrations.AddField(
            "counterreceipt",
            "means",
            models.CharField(
                choices=[
                    ("cash", "cash"),
                    ("bank_transfer", "bank transfer"),
                    ("card", "bank card at a terminal"),
                    ("qr_code", "the property's own QR code"),
                    ("cheque", "cheque"),
                    ("other", "other"),
                ],
                default="cash",
                max_length=16,
                verbose_name="means of payment",
            ),
        ),
        migrations.AddField(
            "counterreceipt",
            "payer",
            models.CharField(blank=True, default="", max_length=64, verbose_name="received from"),
        ),
        migrations.CreateModel(
            name="ReceiptNumbers",
            fields=[
                (
                    "property",
                    models.OneToOneField(
                        on_delete=PROTECT, primary_key=True, related_name="+", serialize=False, to="accounts.property"
                    ),
                ),
                ("last", models.PositiveIntegerField(default=0)),
            ],
            options={"verbose_name": "receipt numbers", "verbose_name_plural": "receipt numbers"},
        ),
        migrations.RunSQL(NUMBER, DIGEST_BACK),
        migrations.AlterField("counterreceipt", "form_digest", models.CharField(max_length=32, unique=True)),
    ]
