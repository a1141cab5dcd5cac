"""Who asks for an operation, when it happened, and that it is done once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError, OperationalError, transaction
from django.utils.translation import gettext as _

from accounts.models import Room, Tenancy, User
from billing import prepaid
from billing.draws import own_purse
from billing.models import Draw, Operation, Purse
from billing.rating import days

log = logging.getLogger(__name__)


class MoveRefused(Exception):
    """It cannot be done as asked, and nothing was; the text is for the person who asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Who asks, why, and when it happened. `key` is the form's: sent twice, done once."""

    key: str
    by: User
    reason: str
    at: datetime
    trace: str = ""


Done = dict[str, Any]  # the columns of an Operation that say what was done


def once(asked: Asked, kind: str, do: Callable[[], Done], *, now: datetime) -> Operation:
    """Does it and writes it down, together; the same key again is answered with what was done. Raises MoveRefused."""
    if not asked.reason.strip():
        raise MoveRefused(_("Give a reason."))
    if asked.at > now:
        raise MoveRefused(_("That instant is yet to come."))
    try:
        with transaction.atomic():
            return _before(asked, kind) or Operation.objects.create(
                key=asked.key,
                kind=kind,
                happened_at=asked.at,
                done_at=now,
                done_by=asked.by,
                reason=asked.reason.strip(),
                trace=asked.trace,
                **do(),
            )
    except IntegrityError:
        # The same form came a second time while we worked: what that one did stands, and ours is undone.
        done = _before(asked, kind)
        if done is None:
            raise
        return done


def _before(asked: Asked, kind: str) -> Operation | None:
    done = Operation.objects.filter(key=asked.key).first()
    if done is not None and (done.kind, done.happened_at) != (kind, asked.at):
        raise MoveRefused(_("This form was sent before, with other words."))
    return done


def hold_rooms(room_ids: Iterable[int]) -> dict[int, Room]:
    """The rooms, held in order: one operation at a time in each."""
    held = Room.objects.select_for_update(no_key=True).filter(pk__in=set(room_ids)).order_by("pk")
    return {room.pk: room for room in held}


def hold_purses(rooms: Iterable[Room], tenancies: Iterable[Tenancy]) -> None:
    """All purses that these rooms draw on or will, held in order."""
    rooms = list(rooms)
    purses = {own_purse(room.property_id).pk for room in rooms}
    purses |= {prepaid.purse_of(tenancy).pk for tenancy in tenancies}
    purses |= set(Draw.objects.filter(room__in=rooms).values_list("purse_id", flat=True))
    list(Purse.objects.select_for_update(no_key=True).filter(pk__in=purses).order_by("pk"))


def bill(room_id: int, now: datetime) -> None:
    """Rates and closes what is over of a room. A price that cannot be found keeps nobody from moving: the careful path
    tells staff, and bills when it is there."""
    try:
        with transaction.atomic():
            days.close_held(room_id=room_id, now=now)
    except OperationalError:
        raise
    except Exception:
        log.exception("room %s could not be billed up to a move", room_id)
