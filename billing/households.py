"""How many people a tenancy counts: tiers may grow with the household (docs/tariffs.md)."""

from __future__ import annotations

from datetime import date, datetime

from django.db import transaction
from django.db.models import Q

from accounts.models import Tenancy
from billing import backlog
from billing.models import Household
from billing.tariff import tiers
from billing.tariff.civil import civil_date, instant
from meters.models import Installation


def on(*, tenancy: Tenancy | None, on_date: date) -> tiers.Household:
    """The household of a tenancy on a day, as `billing.tariff` counts it; of an empty room: nobody special."""
    if tenancy is None:
        return tiers.NOBODY_SPECIAL
    told = Household.objects.filter(tenancy=tenancy, starts_date__lte=on_date).order_by("starts_date").last()
    return tiers.Household(people=told.persons if told else 1, moved_in_date=civil_date(tenancy.starts_at))


def record(*, household: Household, now: datetime) -> None:
    """Keeps a household, new or changed, and has its homes rated anew from its first day or from now on."""
    with transaction.atomic():
        household.save()
        changed(household=household, now=now)


def move(*, old: Tenancy, new: Tenancy, at: datetime, now: datetime) -> None:
    """The people of one tenancy, as they are at an instant and as they will be, are those of another from then on."""
    on_date, theirs = civil_date(at), Household.objects.filter(tenancy=old).order_by("starts_date")
    standing = theirs.filter(starts_date__lte=on_date).last()
    for one in [*([standing] if standing else []), *theirs.filter(starts_date__gt=on_date)]:
        starts_date = max(one.starts_date, on_date)
        moved = Household(
            tenancy=new, starts_date=starts_date, persons=one.persons, proof=one.proof, entered_by=one.entered_by
        )
        record(household=moved, now=now)


def changed(*, household: Household, now: datetime) -> None:
    """Has the home rated anew after its household was entered, changed or taken away."""
    tenancy = household.tenancy
    hanging = Q(ends_at=None) | Q(ends_at__gt=tenancy.starts_at)
    homes = Installation.objects.filter(hanging, room=tenancy.room_id)
    backlog.leave(
        installation_ids=homes.values_list("pk", flat=True),
        from_at=min(max(instant(household.starts_date), tenancy.starts_at), now),
        reason="household",
        now=now,
    )
