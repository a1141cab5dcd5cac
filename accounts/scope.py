"""Who may see what: the one place that filters.

Every list and every look-up that a person's request reaches begins here, so what is not theirs is not there at all:
"not yours" and "does not exist" are the same answer.
"""

from __future__ import annotations

from datetime import datetime

from django.db.models import Q, QuerySet

from accounts.models import Member, Property, Tenancy, User


def properties_of(user: User) -> QuerySet[Property]:
    """The properties a member of staff works for; all of them for a superuser, none for everybody else."""
    if not (user.is_active and user.is_staff):
        return Property.objects.none()
    if user.is_superuser:
        return Property.objects.all()
    return Property.objects.filter(pk__in=user.staff_roles.values("property_id"))


def homes_of(user: User, now: datetime) -> QuerySet[Tenancy]:
    """The tenancies a person lives in at `now`: begun, not ended, and they have not left it. One row a home."""
    if not user.is_active:
        return Tenancy.objects.none()
    return Tenancy.objects.filter(
        Q(ends_at__isnull=True) | Q(ends_at__gt=now),
        starts_at__lte=now,
        pk__in=user.memberships.filter(left_at__isnull=True).values("tenancy_id"),
    )


def memberships_of(user: User, now: datetime) -> QuerySet[Member]:
    """A person's part in each of their homes, oldest home first, with the place loaded: one query."""
    mine = Member.objects.filter(user=user, left_at__isnull=True, tenancy__in=homes_of(user, now))
    return mine.select_related("tenancy__room__building__property").order_by("tenancy_id")
