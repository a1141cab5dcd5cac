"""What follows when staff change a special day: its prices are laid out anew, and it is rated anew if it was."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from django.db import transaction

from billing import backlog, slots, tariffs
from billing.models import TariffVersion
from billing.tariff.civil import civil_date, instant


def changed(*, property_id: int | None, on_date: date, now: datetime) -> None:
    """Of that property, or of all (None), the tariffs that ask what a day is: the others cost what they did."""
    today = civil_date(now)
    with transaction.atomic():
        for tariff_id in _asking(property_id):
            if today - timedelta(days=slots.DAYS_BACK) <= on_date <= today + timedelta(days=slots.DAYS_AHEAD):
                slots.lay_out(tariff_id=tariff_id, now=now)
            if on_date <= today:
                backlog.leave(
                    installation_ids=tariffs.under(tariff_id=tariff_id, since=on_date),
                    from_at=instant(on_date),
                    reason="special_day",
                    now=now,
                )


def _asking(property_id: int | None) -> list[int]:
    """Tariffs of which a published version has other periods on another type of day, in order."""
    rows = TariffVersion.objects.filter(state=TariffVersion.State.PUBLISHED).select_related("tariff")
    if property_id is not None:
        rows = rows.filter(tariff__property=property_id)
    return sorted({version.tariff_id for version in rows if tariffs.read(version).schedule.needs_calendar})
