"""A meter is replaced by another, or a reading by what the register showed in truth."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from accounts.models import Tenancy
from billing import draws, holds, parameters, prepaid, supply
from billing.mirror import explained
from billing.models import Operation, Purse
from billing.moves import registers
from billing.moves.asked import Asked, Done, MoveRefused, bill, hold_purses, hold_rooms, once
from billing.rating import chain, doubts
from billing.rating.chain import Point
from meters import staging
from meters.models import Installation, Meter, Reading

Kind = Operation.Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenDown:
    """What the old meter showed: its register, and what was in it where it holds money."""

    import_wh: int
    balance_fen: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hung:
    """The new meter, its register, and the ratio of its current transformer."""

    meter_id: int
    import_wh: int
    ct_ratio: int = 1
    max_power_w: int | None = None


def replace_meter(asked: Asked, *, installation_id: int, old: TakenDown, new: Hung, now: datetime) -> Operation:
    """Takes a meter down and hangs another in its place. Money that was in the old one goes back to what the tenant
    paid, and on into the new one where that holds money. Raises MoveRefused."""

    def do() -> Done:
        installation, tenancy = _held(installation_id, asked.at)
        registers.check(installation, Point(asked.at, old.import_wh, source=Reading.Source.STAFF))
        successor = _swap(asked, installation, old, new)
        draws.align(room_ids=[installation.room_id], now=now)
        bill(installation.room_id, now)
        _take_out(asked, installation, old, now)
        _call_back(tenancy, installation, now)
        _go_on(asked, tenancy, successor, now)
        parameters.push_afterwards(room_id=installation.room_id, now=now)
        return {
            "property_id": installation.property_id,
            "room_id": installation.room_id,
            "tenancy": tenancy,
            "installation": successor,
            "registers": [
                {
                    "meter": installation.meter.serial,
                    "import_wh": old.import_wh,
                    "balance_fen": old.balance_fen,
                    "role": "before",
                },
                {"meter": successor.meter.serial, "import_wh": new.import_wh, "role": "after"},
            ],
            "outcome": {"ct_ratio": new.ct_ratio},
        }

    return once(asked, Kind.REPLACE_METER, do, now=now)


def correct_reading(asked: Asked, *, installation_id: int, right_wh: int | None, now: datetime) -> Operation:
    """补正: the reading of `asked.at` was wrong. It counts no more; what the register showed in truth, where somebody
    knows it, stands in its place. What was charged by it is charged anew. Raises MoveRefused."""

    def do() -> Done:
        room_id = Installation.objects.values_list("room_id", flat=True).get(pk=installation_id)
        rooms = hold_rooms([room_id])
        hold_purses(rooms.values(), [])
        installation = Installation.objects.select_related("meter__model").get(pk=installation_id)
        ends_at = installation.ends_at
        if asked.at <= installation.starts_at or (ends_at is not None and asked.at > ends_at):
            raise MoveRefused(_("This meter does not hang there then."))
        wrong = Reading.objects.filter(meter=installation.meter_id, read_at=asked.at).first()
        if wrong is None:
            raise MoveRefused(_("There is no reading of that instant."))
        doubts.rule_out(installation=installation, read_at=asked.at, by=asked.by, note=asked.reason, now=now)
        if right_wh is not None:
            _put_right(installation, asked.at, right_wh, now)
        return {
            "property_id": installation.property_id,
            "room_id": room_id,
            "installation": installation,
            "registers": [
                {"meter": installation.meter.serial, "import_wh": wrong.import_wh, "role": "before"},
                *_right(installation, right_wh),
            ],
            "outcome": {},
        }

    return once(asked, Kind.CORRECT_READING, do, now=now)


# ---- the steps ----


def _held(installation_id: int, at: datetime) -> tuple[Installation, Tenancy | None]:
    room_id = Installation.objects.values_list("room_id", flat=True).get(pk=installation_id)
    rooms = hold_rooms([room_id])
    living = Tenancy.objects.filter(Q(ends_at=None) | Q(ends_at__gt=at), room=room_id, starts_at__lte=at)
    tenancy = living.first()
    hold_purses(rooms.values(), [tenancy] if tenancy else [])
    installation = Installation.objects.select_related("meter__model").get(pk=installation_id)
    if installation.ends_at is not None or installation.starts_at >= at:
        raise MoveRefused(_("This meter does not hang there then."))
    return installation, tenancy


def _swap(asked: Asked, installation: Installation, old: TakenDown, new: Hung) -> Installation:
    meter = Meter.objects.select_related("model").filter(pk=new.meter_id).first()
    if meter is None or meter.property_id != installation.property_id:
        raise MoveRefused(_("Room and meter belong to different properties."))
    installation.ends_at, installation.ends_wh = asked.at, old.import_wh
    installation.save(update_fields=["ends_at", "ends_wh"])
    try:
        with transaction.atomic():
            return Installation.objects.create(
                property_id=installation.property_id,
                room_id=installation.room_id,
                meter=meter,
                starts_at=asked.at,
                starts_wh=new.import_wh,
                ct_ratio=new.ct_ratio,
                max_power_w=new.max_power_w,
            )
    except IntegrityError as error:
        raise MoveRefused(_("This meter hangs in a room. Take it down there first.")) from error


def _take_out(asked: Asked, installation: Installation, old: TakenDown, now: datetime) -> None:
    if not installation.meter.holds_money() or old.balance_fen <= 0:
        return
    word = explained.Word(
        installation=installation, at=asked.at, by=asked.by, reason=asked.reason, key=f"replace:{asked.key}"
    )
    try:
        explained.taken_out(word, amount_fen=old.balance_fen, now=now)
    except explained.ExplanationRefused as error:
        raise MoveRefused(str(error)) from error


def _call_back(tenancy: Tenancy | None, installation: Installation, now: datetime) -> None:
    """What is on its way into the old meter and was not sent yet: nobody would ever take it there."""
    if tenancy is not None:
        purse = Purse.objects.get(tenancy=tenancy)
        prepaid.call_back(purse_id=purse.pk, meter_id=installation.meter_id, now=now)


def _go_on(asked: Asked, tenancy: Tenancy | None, successor: Installation, now: datetime) -> None:
    if tenancy is None:
        holds.pass_on(room=successor.room, trace=asked.trace, now=now)
        return
    purse = Purse.objects.get(tenancy=tenancy)
    if successor.meter.holds_money():
        key = f"replace:{asked.key}:onward"
        prepaid.send_on(key=key, purse_id=purse.pk, meter_id=successor.meter_id, trace=asked.trace, now=now)
    supply.decide(purse_id=purse.pk, trace=asked.trace, now=now)


def _right(installation: Installation, right_wh: int | None) -> list[dict[str, Any]]:
    if right_wh is None:
        return []
    return [{"meter": installation.meter.serial, "import_wh": right_wh, "role": "after"}]


def _put_right(installation: Installation, read_at: datetime, right_wh: int, now: datetime) -> None:
    """Beside the wrong one, a millisecond later: both are kept, and one counts."""
    point = Point(read_at + chain.MILLISECOND, right_wh, source=Reading.Source.STAFF)
    registers.check(installation, point)
    list(Meter.objects.select_for_update(no_key=True).filter(pk=installation.meter_id))
    row = staging.Row(
        installation.meter_id, point.at, installation.property_id, right_wh, source=Reading.Source.STAFF.value
    )
    if staging.put([row], stored_at=now).batch_id is None:
        raise MoveRefused(_("This reading was corrected before. Correct that one."))
