"""Moving in, moving out, and from one room into another, with the registers that were read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from accounts.models import Member, Room, Tenancy
from billing import draws, households, ledger, prepaid, supply
from billing.ledger import Line
from billing.models import Operation, Purse
from billing.moves import registers
from billing.moves.asked import Asked, Done, MoveRefused, bill, hold_purses, hold_rooms, once
from billing.tariff import units

Kind = Operation.Kind
Registers = Mapping[int, int]  # Wh by meter id


def move_in(asked: Asked, *, room_id: int, told: Registers, now: datetime) -> Operation:
    """Lets a room from an instant on. Who lives there comes by an invitation. Raises MoveRefused."""

    def do() -> Done:
        room = hold_rooms([room_id])[room_id]
        tenancy, read = _move_in(asked, room, told, now)
        return {
            "property_id": room.property_id,
            "room": room,
            "tenancy": tenancy,
            "registers": _as("after", read),
            "outcome": {},
        }

    return once(asked, Kind.MOVE_IN, do, now=now)


def move_out(asked: Asked, *, tenancy_id: int, told: Registers, now: datetime) -> Operation:
    """Ends a tenancy: the last bill is made up to the register, what was on its way into a meter is called back, and
    the outcome says what is left. A refund of it is the desk's to make. Raises MoveRefused.

    Where a meter was not read, and has not reported since, the last bill waits for its next reading: `is_billed`.
    """

    def do() -> Done:
        tenancy, room = _held(tenancy_id)
        read = _move_out(asked, tenancy, room, told, now)
        _decide(asked, tenancy, now)
        return {
            "property_id": room.property_id,
            "room": room,
            "tenancy": tenancy,
            "registers": _as("before", read),
            "outcome": _left(tenancy),
        }

    return once(asked, Kind.MOVE_OUT, do, now=now)


def change_room(
    asked: Asked, *, tenancy_id: int, to_room_id: int, told: Registers, told_there: Registers, now: datetime
) -> Operation:
    """转户: who lives in one room lives in another from an instant on, with the same people and the same money.

    Money inside of a meter stays in it, so it must be taken out before. Raises MoveRefused.
    """

    def do() -> Done:
        old, room, to_room = _held_both(tenancy_id, to_room_id)
        read = _move_out(asked, old, room, told, now)
        new, read_there = _move_in(asked, to_room, told_there, now)
        Member.objects.bulk_create(
            Member(tenancy=new, user_id=member.user_id, role=member.role, joined_at=asked.at)
            for member in old.members.filter(left_at=None)
        )
        households.move(old=old, new=new, at=asked.at, now=now)
        moved = _hand_over(asked, old, new, now)
        _decide(asked, old, now)
        return {
            "property_id": room.property_id,
            "room": room,
            "to_room": to_room,
            "tenancy": new,
            "registers": [*_as("before", read), *_as("after", read_there)],
            "outcome": {**_left(old), "from_tenancy": old.pk, **moved},
        }

    return once(asked, Kind.CHANGE_ROOM, do, now=now)


# ---- the steps ----


def _held(tenancy_id: int) -> tuple[Tenancy, Room]:
    room_id = Tenancy.objects.values_list("room_id", flat=True).get(pk=tenancy_id)
    room = hold_rooms([room_id])[room_id]
    return Tenancy.objects.get(pk=tenancy_id), room


def _held_both(tenancy_id: int, to_room_id: int) -> tuple[Tenancy, Room, Room]:
    room_id = Tenancy.objects.values_list("room_id", flat=True).get(pk=tenancy_id)
    rooms = hold_rooms([room_id, to_room_id])
    if room_id == to_room_id:
        raise MoveRefused(_("They live in this room already."))
    if rooms[room_id].property_id != rooms[to_room_id].property_id:
        raise MoveRefused(_("The rooms belong to different properties. Move out there, and in here."))
    tenancy = Tenancy.objects.get(pk=tenancy_id)
    hold_purses(rooms.values(), [tenancy])
    in_meter = Purse.objects.filter(tenancy=tenancy).exclude(in_meter_fen=0, in_transit_fen=0)
    if in_meter.exists():
        raise MoveRefused(_("There is money of theirs in a meter. Take it out first."))
    return tenancy, rooms[room_id], rooms[to_room_id]


def _move_out(asked: Asked, tenancy: Tenancy, room: Room, told: Registers, now: datetime) -> list[dict[str, Any]]:
    if not tenancy.starts_at < asked.at or (tenancy.ends_at is not None and tenancy.ends_at <= now):
        raise MoveRefused(_("This tenancy does not run then."))
    hold_purses([room], [tenancy])
    read = registers.enter(registers.hanging(room.pk, asked.at), told, at=asked.at, now=now)
    tenancy.ends_at = asked.at
    tenancy.save(update_fields=["ends_at"])
    draws.align(room_ids=[room.pk], now=now)
    bill(room.pk, now)
    purse = prepaid.purse_of(tenancy)
    prepaid.call_back(purse_id=purse.pk, now=now)
    return read


def _move_in(asked: Asked, room: Room, told: Registers, now: datetime) -> tuple[Tenancy, list[dict[str, Any]]]:
    read = registers.enter(registers.hanging(room.pk, asked.at), told, at=asked.at, now=now)
    try:
        with transaction.atomic():
            tenancy = Tenancy.objects.create(room=room, starts_at=asked.at)
    except IntegrityError as error:
        raise MoveRefused(_("Somebody lives in this room then.")) from error
    hold_purses([room], [tenancy])
    draws.align(room_ids=[room.pk], now=now)
    bill(room.pk, now)
    _decide(asked, tenancy, now)
    return tenancy, read


def _decide(asked: Asked, tenancy: Tenancy, now: datetime) -> None:
    supply.decide(purse_id=prepaid.purse_of(tenancy).pk, trace=asked.trace, now=now)


def _hand_over(asked: Asked, old: Tenancy, new: Tenancy, now: datetime) -> Done:
    """What is left in one purse goes into the other; a debt goes with them. What is still to be billed stays behind,
    and money for it: days that are open or in dispute."""
    purse, to_purse = Purse.objects.prefetch_related("draws").get(tenancy=old), Purse.objects.get(tenancy=new)
    moved_fen = _to_move(purse)
    lines = list(_lines(purse, to_purse, moved_fen))
    if lines:
        ledger.post(
            key=f"room_change:{asked.key}",
            kind="room_change",
            property_id=purse.property_id,
            lines=lines,
            happened_at=asked.at,
            trace=asked.trace,
            actor_id=asked.by.pk,
            reason=asked.reason,
            now=now,
        )
        supply.decide(purse_id=to_purse.pk, trace=asked.trace, now=now)
    return {"moved_paid_fen": moved_fen, "moved_subsidy_fen": purse.subsidy_fen}


def _to_move(purse: Purse) -> int:
    """Of the paid money, or all of the debt."""
    unbilled_fen = max(0, units.to_fen(int(purse.accrued_nano())))
    return max(0, purse.paid_fen - unbilled_fen) if purse.paid_fen > 0 else purse.paid_fen


def _lines(purse: Purse, to_purse: Purse, moved_fen: int) -> list[Line]:
    paid, to_paid = ledger.purse_account("paid", purse.pk), ledger.purse_account("paid", to_purse.pk)
    lines = []
    if moved_fen > 0:
        lines.append(Line(paid, to_paid, moved_fen))
    elif moved_fen < 0:
        lines.append(Line(to_paid, paid, -moved_fen))
    if purse.subsidy_fen > 0:
        subsidy = ledger.purse_account("subsidy", purse.pk)
        lines.append(Line(subsidy, ledger.purse_account("subsidy", to_purse.pk), purse.subsidy_fen))
    return lines


def _left(tenancy: Tenancy) -> Done:
    """What stands in the purse after the last bill; `unbilled_fen` is used and waits for a reading."""
    purse = Purse.objects.prefetch_related("draws").get(tenancy=tenancy)
    waiting = [draw for draw in purse.draws.all() if draw.last_at < (draw.ends_at or draw.last_at)]
    return {
        "paid_fen": purse.paid_fen,
        "subsidy_fen": purse.subsidy_fen,
        "in_transit_fen": purse.in_transit_fen,
        "in_meter_fen": purse.in_meter_fen,
        "unbilled_fen": units.to_fen(int(purse.accrued_nano())),
        "is_billed": not waiting and units.to_fen(int(purse.accrued_nano())) == 0,
    }


def _as(role: str, read: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**one, "role": role} for one in read]
