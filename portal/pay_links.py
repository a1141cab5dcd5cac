"""A link by which somebody else pays for a home (代付): signed, so that it names the home without a table of links.

Who opens it sees which door it is and what was asked for, and nothing of who lives there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.core import signing

from accounts.models import Tenancy

SALT: Final = "portal.pay-link"
VALID_FOR: Final = timedelta(days=7)
LONGEST_NOTE: Final = 40


class BadPayLink(Exception):
    """We did not sign it, it has run out, or the home that it names has ended."""


@dataclass(frozen=True, slots=True)
class PayLink:
    """`amount_fen` is what was asked for, None where the payer chooses."""

    tenancy: Tenancy
    amount_fen: int | None
    note: str


def url_of(*, tenancy: Tenancy, amount_fen: int | None, note: str) -> str:
    """Good for VALID_FOR, and for as long as the tenancy runs."""
    token = signing.dumps([tenancy.pk, amount_fen, note[:LONGEST_NOTE]], salt=SALT, compress=True)
    return f"{settings.PUBLIC_URL}/f/{token}/"


def read(token: str, *, now: datetime) -> PayLink:
    """Raises BadPayLink."""
    try:
        tenancy_id, amount_fen, note = signing.loads(token, salt=SALT, max_age=VALID_FOR)
    except signing.BadSignature:
        raise BadPayLink from None
    homes = Tenancy.objects.select_related("room__building__property", "property")
    tenancy = homes.filter(pk=tenancy_id).first()
    if tenancy is None or not tenancy.is_open(now):
        raise BadPayLink
    return PayLink(tenancy, amount_fen, note)
