"""The doctor's look at prices: energy is used that cannot be priced, or soon cannot, and nobody may have noticed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db import DatabaseError

from billing import holidays
from billing.models import Draw, TariffVersion
from billing.tariff.civil import civil_date
from config.ailment import Ailment

AHEAD_AT_LEAST = timedelta(days=14)  # of the 45 days that are laid out each day


def prices(now: datetime) -> Iterator[Ailment]:
    """Holidays of this year and the next, homes without a tariff, prices that are no longer laid out ahead."""
    try:
        yield from _holidays(now)
        yield from _without_tariff()
        yield from _laid_out(now)
    except DatabaseError:
        return  # `database` has said so


def _holidays(now: datetime) -> Iterator[Ailment]:
    for year in holidays.missing_years(now=now):
        yield Ailment(
            "Holidays",
            f"none are entered for {year}",
            "enter them in the admin as the State Council announces them: tariffs by day type need them",
            is_warning=True,
        )


def _without_tariff() -> Iterator[Ailment]:
    waiting = Draw.objects.filter(is_current=True, why_not="no_tariff")
    for code, meters in sorted(_count(list(waiting.values_list("property__code", flat=True))).items()):
        yield Ailment(
            f"Property {code}",
            f"{meters} meters use energy that has no price",
            "publish a tariff and assign it: what was used since is priced then",
            is_warning=True,
        )


def _count(codes: list[str]) -> dict[str, int]:
    return {code: codes.count(code) for code in set(codes)}


def _laid_out(now: datetime) -> Iterator[Ailment]:
    in_use = Draw.objects.filter(is_current=True).values("version")
    soon = civil_date(now) + AHEAD_AT_LEAST
    late = TariffVersion.objects.select_related("tariff").filter(pk__in=in_use, slots_until_date__lt=soon)
    for version in late.order_by("pk"):
        yield Ailment(
            f"Tariff {version.tariff.name}",
            f"its prices are laid out only until {version.slots_until_date}",
            "let the queue run (`manage.py queue_watch`): it lays them out each day",
        )
