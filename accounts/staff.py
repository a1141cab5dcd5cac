"""What staff may do where: roles at properties, and how the admin writes what it must not write in full.

Calls go down, so this lies at the bottom: every floor's admin asks here. The places themselves come from scope.py.
"""

from __future__ import annotations

from django.db.models import QuerySet
from django.http import HttpRequest

from accounts import scope
from accounts.models import Property, StaffRole, User

Roles = frozenset[str]

NOBODY: Roles = frozenset()
OPERATOR: Roles = frozenset({"operator"})  # superusers alone: no role at a property has this name
MANAGERS: Roles = frozenset({StaffRole.Role.MANAGER})
DESK: Roles = MANAGERS | {StaffRole.Role.SERVICE}
BOOKS: Roles = MANAGERS | {StaffRole.Role.FINANCE}
EVERYBODY: Roles = DESK | BOOKS


def who(request: HttpRequest) -> User:
    """The member of staff who asks. The admin site lets nobody else in; raises TypeError for an anonymous request."""
    if not isinstance(request.user, User):
        raise TypeError("the admin site serves people who are logged in")
    return request.user


def places_where(request: HttpRequest, roles: Roles) -> QuerySet[Property]:
    """The properties at which the asker has one of these roles; all of them for a superuser, unless nobody may."""
    places = scope.properties_of(who(request))
    if not roles:
        return places.none()
    if who(request).is_superuser:
        return places
    return places.filter(pk__in=[pk for pk, role in roles_of(request).items() if role in roles])


def may_somewhere(request: HttpRequest, roles: Roles) -> bool:
    """Whether the asker has one of these roles at any property."""
    if not isinstance(request.user, User) or not (request.user.is_active and request.user.is_staff):
        return False
    if request.user.is_superuser:
        return bool(roles)
    return not roles.isdisjoint(roles_of(request).values())


def roles_of(request: HttpRequest) -> dict[int, str]:
    """The asker's role by property id. Looked up once a request: every entry of the menu asks."""
    found: dict[int, str] | None = getattr(request, "staff_roles", None)
    if found is None:
        found = dict(who(request).staff_roles.values_list("property_id", "role"))
        request.staff_roles = found  # type: ignore[attr-defined]  # lives as long as the request does
    return found


def yuan(fen: int | None) -> str:
    """Fen as people read it, "¥1,234.50", for every floor's admin; blank where nothing is known."""
    if fen is None:
        return ""
    whole, rest = divmod(abs(fen), 100)
    return f"{'-' if fen < 0 else ''}¥{whole:,}.{rest:02d}"
