"""A link by which somebody else pays for a home (代付): signed, so that it names the home without a table of links.

Who opens it sees which door it is and what was asked for, and nothing of who lives there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from django.conf import settings
from django.core import signing
from django.utils.translation import gettext as _

from accounts.models import Tenancy
from billing import money
from payments.checkout import CheckoutRefused
from payments.models import RechargeLimits

# Not the framework's signer with a clock of its own: the link itself says until when, and the caller what time it is.
_SIGNER: Final = signing.Signer(salt="portal.pay-link")
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


@dataclass(frozen=True, slots=True)
class Made:
    url: str
    expires_at: datetime


def make(*, tenancy: Tenancy, amount_fen: int | None, note: str, now: datetime) -> Made:
    """Good for VALID_FOR (whole seconds), and for as long as the tenancy runs.

    Raises CheckoutRefused for an amount that the property does not take: whoever opens the link could not pay it.
    """
    if amount_fen is not None:
        _check_amount(tenancy, amount_fen)
    until_s = int((now + VALID_FOR).timestamp())
    token = _SIGNER.sign_object([tenancy.pk, until_s, amount_fen, note[:LONGEST_NOTE]], compress=True)
    return Made(f"{settings.PUBLIC_URL}/f/{token}/", datetime.fromtimestamp(until_s, UTC))


def read(token: str, *, now: datetime) -> PayLink:
    """Raises BadPayLink."""
    try:
        tenancy_id, until_s, amount_fen, note = _SIGNER.unsign_object(token)
    except signing.BadSignature:
        raise BadPayLink from None
    homes = Tenancy.objects.select_related("room__building__property", "property")
    tenancy = homes.filter(pk=tenancy_id).first()
    if now.timestamp() >= until_s or tenancy is None or not tenancy.is_open(now):
        raise BadPayLink
    return PayLink(tenancy, amount_fen, note)


def _check_amount(tenancy: Tenancy, amount_fen: int) -> None:
    limits = RechargeLimits.objects.filter(property=tenancy.property_id).first() or RechargeLimits()
    if not limits.at_least_fen <= amount_fen <= limits.at_most_fen:
        least, most = money.to_yuan(limits.at_least_fen), money.to_yuan(limits.at_most_fen)
        message = _("Recharge between %(least)s and %(most)s yuan.") % {"least": least, "most": most}
        raise CheckoutRefused("amount_out_of_limits", message)
