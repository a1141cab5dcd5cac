"""Help for tenants, in their language: the articles of the help pages and of the API, and whom to call at any hour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.template.loader import render_to_string
from django.utils.translation import gettext_lazy as _

from accounts import scope
from accounts.deeds import Text
from accounts.models import Property, User
from portal import scanned

# By the name in the address; the text is templates/help/<name>.html.
ARTICLES: Final[dict[str, Text]] = {
    "recharge": _("How to recharge"),
    "display": _("How to read the meter's display"),
    "power-off": _("The power is off: what to do"),
    "prices": _("Prices, periods and tiers"),
    "privacy": _("Your data and your rights"),
    "contact": _("Whom to call"),
}


@dataclass(frozen=True, slots=True)
class Article:
    """`html` has headings, paragraphs, lists and links alone."""

    slug: str
    title: str
    html: str


def article(slug: str, *, places: Sequence[Property]) -> Article | None:
    """One of ARTICLES in the reader's language; None for any other name. `places` are those whose phone is named."""
    if slug not in ARTICLES:
        return None
    return Article(slug, str(ARTICLES[slug]), render_to_string(f"help/{slug}.html", {"places": places}))


def places_of(user: User, *, now: datetime) -> list[Property]:
    """The properties in which a person lives, if they have a phone for their tenants."""
    homes = scope.homes_of(user, now)
    return list(Property.objects.filter(pk__in=homes.values("property")).exclude(phone="").order_by("pk"))


def places_by_meter(code: str, *, now: datetime) -> list[Property]:
    """The property of the meter with this code on its label, as whoever stands before it may know."""
    found = scanned.by_code(code, now=now)
    return [found.room.property] if found and found.room.property.phone else []
