"""What a property pays per kWh changes: versions that have become dearer than that are put before a person."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from billing import markups, tariffs
from billing.models import TariffVersion
from billing.tariff.civil import civil_date
from notifications import worklist


def changed(*, property_id: int, now: datetime) -> list[TariffVersion]:
    """The published versions, today's and later ones, that now charge more than anybody has answered for.

    Each is a work item, `mark_up:<version>`, until a supply price or another version ends it. Prices stay as they are:
    which of the two is wrong is for staff to say.
    """
    with transaction.atomic():
        rows = TariffVersion.objects.filter(tariff__property=property_id, state=TariffVersion.State.PUBLISHED)
        checked = [(version, _is_above(version, now)) for version in rows.select_related("tariff")]
        for version, is_above in checked:
            _tell(version, is_above=is_above, property_id=property_id, now=now)
    return [version for version, is_above in checked if is_above]


def _is_above(version: TariffVersion, now: datetime) -> bool:
    ends_date = tariffs.ends_date(version)
    starts_date = max(version.starts_date, civil_date(now))
    if ends_date and ends_date <= starts_date:
        return False
    tariff, property_id = tariffs.read(version), version.tariff.property_id
    found = markups.above(tariff=tariff, property_id=property_id, starts_date=starts_date, ends_date=ends_date)
    answered_for = [each for mark_up in version.mark_ups.all() for each in mark_up.excess]
    return markups.beyond(found, answered_for)


def _tell(version: TariffVersion, *, is_above: bool, property_id: int, now: datetime) -> None:
    key = f"mark_up:{version.pk}"
    if is_above:
        detail = {"tariff": str(version)}
        worklist.raise_item(key=key, kind="mark_up", property_id=property_id, detail=detail, trace="", now=now)
    else:
        worklist.resolve(key=key, by=None, resolution="no longer above", now=now)
