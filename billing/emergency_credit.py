"""Emergency credit by a tap: once a recharge, a tenant without money may go on within what the property allows.

The next recharge pays it back first, by arithmetic: it was used below zero (billing/emergency.py). Lock order: Purse,
then the credit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from accounts.models import User
from billing import disputes, emergency, rules, supply
from billing.models import Emergency, Purse, StaffHold
from billing.tariff.units import NANO_FEN_PER_FEN
from meters.models import Installation, MeterModel


class EmergencyRefused(Exception):
    """It cannot be taken, and nothing was changed. `code` is for programs, `message` for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass(frozen=True, slots=True)
class Offer:
    """What a tenant may take now (0: nothing), what they have taken and not paid back, and why not."""

    amount_fen: int
    taken_fen: int
    refused: EmergencyRefused | None


def offer(*, purse: Purse, now: datetime) -> Offer:
    """What may be taken from this purse now."""
    taken_fen = emergency.standing_fen(purse_id=purse.pk)
    try:
        return Offer(_checked(purse, now), taken_fen, None)
    except EmergencyRefused as refused:
        return Offer(0, taken_fen, refused)


def take(*, purse_id: int, user: User, trace: str, now: datetime) -> Emergency:
    """Takes it, and decides supply at once. Once a recharge, however often and from wherever it is tapped: a second tap
    is answered with what the first one took. Raises EmergencyRefused.

    The caller knows that `user` lives there.
    """
    with transaction.atomic():
        purse = supply.locked(purse_id)
        taken = Emergency.objects.filter(purse=purse, recharge=purse.recharges).first()
        if taken is not None and taken.repaid_at is None:
            return taken
        amount_fen = _checked(purse, now)
        taken = Emergency.objects.create(
            purse=purse,
            property_id=purse.property_id,
            recharge=purse.recharges,
            amount_fen=amount_fen,
            taken_at=now,
            taken_by=user,
        )
        purse.limit_fen += amount_fen
        purse.save(update_fields=["limit_fen"])
        supply.decide(purse_id=purse.pk, trace=trace, now=now)
    return taken


def _checked(purse: Purse, now: datetime) -> int:
    """How much. Raises EmergencyRefused."""
    tenancy = purse.tenancy
    if tenancy is None or not tenancy.is_open(now):
        raise EmergencyRefused("no_home", _("Nobody lives there now."))
    laid_down = rules.laid_down(room_id=tenancy.room_id, property_id=purse.property_id)
    amount_fen = laid_down.value("emergency_fen")
    if not amount_fen:
        raise EmergencyRefused("not_offered", _("The property offers no emergency credit."))
    hanging = Installation.objects.filter(room=tenancy.room_id, ends_at=None)
    if not hanging.filter(meter__model__balance_held_by=MeterModel.BalanceHolder.SERVER).exists():
        raise EmergencyRefused("meter_decides", _("The meter holds the money itself and gives its own credit."))
    if Emergency.objects.filter(purse=purse, recharge=purse.recharges).exists():
        raise EmergencyRefused("taken", _("It was taken since the last recharge. Recharge first."))
    if emergency.standing_fen(purse_id=purse.pk):
        raise EmergencyRefused("not_repaid", _("What was taken before is not paid back yet. Recharge first."))
    held_open = StaffHold.objects.filter(Q(until_at=None) | Q(until_at__gt=now), room=tenancy.room_id, lifted_at=None)
    if held_open.filter(position=StaffHold.Position.OPEN).exists():
        raise EmergencyRefused("held", _("The property holds the power off. Money does not switch it on."))
    if purse.available_fen() > 0:
        raise EmergencyRefused("not_needed", _("There is money left."))
    frozen_fen = disputes.frozen_nano(purse_id=purse.pk) // NANO_FEN_PER_FEN
    if purse.available_fen() + frozen_fen + laid_down.value("overdraft_fen") + amount_fen <= 0:
        raise EmergencyRefused("too_little", _("It would not bring the power back. Recharge."))
    return int(amount_fen)
