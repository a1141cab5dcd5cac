"""China's holidays and make-up workdays of the years that come with the product."""

from __future__ import annotations

from typing import Any

from django.db import migrations

from billing.tariff import calendar

KINDS = {"holiday": "holiday", "workday": "make_up_workday"}


def enter(apps: Any, _schema: Any) -> None:
    """The country's days as announced. What staff have entered for a day stays."""
    days = apps.get_model("billing", "SpecialDay")
    days.objects.bulk_create(
        [
            days(property=None, on_date=day.on, kind=KINDS[day.day_type], name=day.name, source=day.notice)
            for day in calendar.china()
        ],
        ignore_conflicts=True,
    )


def leave_out(apps: Any, _schema: Any) -> None:
    apps.get_model("billing", "SpecialDay").objects.filter(property=None, entered_by=None).delete()


class Migration(migrations.Migration):
    dependencies = [("billing", "0008_accrual")]

    operations = [migrations.RunPython(enter, leave_out)]
