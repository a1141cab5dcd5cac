"""Relays held by hand: off or on whatever the money says, with a reason that the tenant is told.

Lock order: Purse, then StaffHold, then the meters' levels.
"""

from __future__ import annotations

from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from accounts.models import Room, Tenancy, User
from billing import interruptions, parameters, prepaid, supply
from billing.models import StaffHold
from meters import desired
from meters.models import Installation, Relay

_ONE_A_ROOM = "a_room_has_one_standing_hold"


class HoldRefused(Exception):
    """The hold cannot be placed as asked; nothing was changed. The text is for the person who asked."""


def hold_room(
    *, room: Room, position: str, reason: str, by: User, until: datetime | None, now: datetime, trace: str = ""
) -> StaffHold:
    """Holds a room's power off ("open") or on ("closed") until lifted, or until `until`, and tells its meters.

    Power that is held on needs an end: it is an emergency, and nobody pays for what is used meanwhile. Raises
    HoldRefused without a reason, without that end, for an end that has passed, and for a room that is held already.
    """
    reason = reason.strip()
    if not reason:
        raise HoldRefused(_("Give a reason."))
    if until is None and position == StaffHold.Position.CLOSED:
        raise HoldRefused(_("Power that is held on needs an end: say until when."))
    if until is not None and until <= now:
        raise HoldRefused(_("The end lies in the past."))
    with transaction.atomic():
        purses = _locked_purses(room, now)
        _lift(StaffHold.objects.filter(room=room, until_at__lte=now), by=None, now=now)
        hold = _place(
            StaffHold(
                room=room,
                property_id=room.property_id,
                position=StaffHold.Position(position),
                reason=reason,
                placed_at=now,
                placed_by=by,
                until_at=until,
            )
        )
        _tell_meters(room, purses, position=hold.position, trace=trace, now=now)
        parameters.push_afterwards(room_id=room.pk, now=now)  # a supply that is kept on gives way to a hold
    return hold


def _place(hold: StaffHold) -> StaffHold:
    try:
        with transaction.atomic():
            hold.save(force_insert=True)
    except IntegrityError as error:
        if _ONE_A_ROOM in str(error):
            raise HoldRefused(_("This room is held already. Lift that hold first.")) from error
        raise
    return hold


def lift_hold(*, room: Room, by: User, now: datetime, trace: str = "") -> bool:
    """Lifts what stands on a room and lets money decide again. False when nothing stands there."""
    return _end(StaffHold.objects.filter(room=room), room=room, by=by, trace=trace, now=now)


def pass_on(*, room: Room, trace: str, now: datetime) -> None:
    """Tells the meters of an empty room what stands there: one was hung that has heard nothing of it."""
    standing = StaffHold.objects.filter(Q(until_at=None) | Q(until_at__gt=now), room=room, lifted_at=None).first()
    if standing is not None:
        with transaction.atomic():
            _tell_meters(room, _locked_purses(room, now), position=standing.position, trace=trace, now=now)


def expire_holds(*, now: datetime, limit: int = 500) -> int:
    """Lifts the holds whose end has passed, a room a transaction. Returns how many."""
    over = StaffHold.objects.filter(lifted_at=None, until_at__lte=now).select_related("room").order_by("pk")
    # Each by its own id: somebody may have lifted it since, and placed another.
    return sum(
        _end(StaffHold.objects.filter(pk=hold.pk), room=hold.room, by=None, trace="", now=now) for hold in over[:limit]
    )


def _end(holds: QuerySet[StaffHold], *, room: Room, by: User | None, trace: str, now: datetime) -> bool:
    with transaction.atomic():
        purses = _locked_purses(room, now)
        lifted = _lift(holds, by=by, now=now)
        if lifted:
            _tell_meters(room, purses, position=None, trace=trace, now=now)
            parameters.push_afterwards(room_id=room.pk, now=now)
    return lifted


def _lift(holds: QuerySet[StaffHold], *, by: User | None, now: datetime) -> bool:
    return holds.filter(lifted_at=None).update(lifted_at=now, lifted_by=by) > 0


def _locked_purses(room: Room, now: datetime) -> list[int]:
    """The purses of those who live there now, held in primary-key order. None for an empty room."""
    living = Tenancy.objects.filter(Q(ends_at=None) | Q(ends_at__gt=now), room=room, starts_at__lte=now)
    purse_ids = sorted(prepaid.purse_of(tenancy).pk for tenancy in living)
    for purse_id in purse_ids:
        supply.locked(purse_id)
    return purse_ids


def _tell_meters(room: Room, purses: list[int], *, position: str | None, trace: str, now: datetime) -> None:
    """Money decides for a home. An empty room has nobody's: there a hold speaks to the meters itself, and when it is
    lifted a meter with its own money goes by that again while one without stays as it is until somebody moves in."""
    for purse_id in purses:
        supply.decide(purse_id=purse_id, trace=trace, now=now)
    if purses:
        return
    hanging = Installation.objects.filter(room=room, ends_at=None).select_related("meter__model").order_by("meter_id")
    for meter in [installation.meter for installation in hanging]:
        wanted = position or (Relay.AUTO if meter.holds_money() else None)
        if wanted is not None:
            reason = f"hold_{position}" if position else supply.Verdict.NONE
            desired.want(meter_id=meter.pk, kind="relay", wanted=wanted, reason=reason, trace=trace, now=now)
            if wanted == Relay.OPEN:
                interruptions.order(meter_ids=[meter.pk], now=now)
