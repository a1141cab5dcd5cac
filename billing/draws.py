"""Who pays for what an installation lets through, and from when to when: draws, derived from tenancies and hangings.

While a room is let its tenancy's purse pays, and the property's own purse in between. Draws follow the rows that staff
write; days that were closed with another payer are opened again. Only a draw that would vanish with closed days of its
own stays, and a person is asked: whose tenancy it was is part of the books.
Lock order: the room's purses, its draws, the backlog.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction

from accounts.models import Tenancy
from billing import backlog, prepaid
from billing.models import Draw, Purse
from billing.tariff.civil import civil_date
from meters.models import Installation
from notifications import worklist

CLOSED: Final = "draw_of_closed_days"  # a kind of work item
MILLISECOND: Final = timedelta(milliseconds=1)  # the finest that readings are told apart by


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the time that an installation hangs: one tenancy's, or nobody's (None). `ends_at` None: goes on."""

    starts_at: datetime
    ends_at: datetime | None
    tenancy: Tenancy | None


def stretches(installation: Installation, tenancies: Iterable[Tenancy]) -> list[Stretch]:
    """The time that an installation hangs, without gaps, in order; `tenancies` of its room do not overlap."""
    found: list[Stretch] = []
    at, end_at = installation.starts_at, installation.ends_at
    for tenancy in sorted(tenancies, key=lambda one: one.starts_at):
        starts_at, ends_at = max(tenancy.starts_at, at), _earlier(tenancy.ends_at, end_at)
        if (end_at and starts_at >= end_at) or (ends_at and ends_at <= starts_at):
            continue
        if at < starts_at:
            found.append(Stretch(at, starts_at, None))
        found.append(Stretch(starts_at, ends_at, tenancy))
        if ends_at is None:
            return found
        at = ends_at
    if end_at is None or at < end_at:
        found.append(Stretch(at, end_at, None))
    return found


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    return min((at for at in (one, other) if at), default=None)


def align(*, room_ids: Iterable[int], now: datetime) -> int:
    """Makes, moves and ends draws so that they say what tenancies and installations say. Returns how many it wrote.

    A room a transaction, and again it writes nothing. What changes is rated anew from there on. An installation
    of which a draw with closed days would vanish stays as it is and goes to the work list.
    """
    return sum(_align(room_id, now) for room_id in sorted(set(room_ids)))


def refresh(*, installation_ids: Iterable[int], now: datetime) -> int:
    """What SQL knows of these installations' tariffs and households no longer holds: they take the careful path once,
    which writes it anew. Returns how many draws that concerns.
    """
    with transaction.atomic():
        rows = Draw.objects.select_for_update(no_key=True).filter(installation__in=list(installation_ids))
        current = list(rows.filter(is_current=True).order_by("pk"))
        Draw.objects.filter(pk__in=[draw.pk for draw in current]).update(is_plain=False, why_not="changed")
        for draw in sorted(current, key=lambda one: one.installation_id):
            backlog.leave(installation_ids=[draw.installation_id], from_at=draw.last_at, reason="changed", now=now)
    return len(current)


def own_purse(property_id: int) -> Purse:
    """The property's own, on which its empty rooms draw. Safe to race."""
    purse, _made = Purse.objects.get_or_create(property_id=property_id, tenancy=None)
    return purse


def _align(room_id: int, now: datetime) -> int:
    with transaction.atomic():
        tenancies = list(Tenancy.objects.filter(room=room_id).order_by("starts_at"))
        hung = Installation.objects.select_related("meter__model").filter(room=room_id).order_by("pk")
        wanted = {one: stretches(one, tenancies) for one in hung}
        purses = _held(room_id, wanted)
        rows = Draw.objects.select_for_update(no_key=True).filter(room=room_id).order_by("pk")
        draws: dict[int, list[Draw]] = {}
        for draw in rows:
            draws.setdefault(draw.installation_id, []).append(draw)
        return sum(_move(one, draws.get(one.pk, []), parts, purses, now) for one, parts in wanted.items())


def _held(room_id: int, wanted: dict[Installation, list[Stretch]]) -> dict[int | None, Purse]:
    """The purses of the room's draws, those to be made too, held in order; by tenancy."""
    purses = set(Draw.objects.filter(room=room_id).values_list("purse_id", flat=True))
    for installation, parts in wanted.items():
        for part in parts:
            purse = prepaid.purse_of(part.tenancy) if part.tenancy else own_purse(installation.property_id)
            purses.add(purse.pk)
    held = Purse.objects.select_for_update(no_key=True).filter(pk__in=purses).order_by("pk")
    return {purse.tenancy_id: purse for purse in held}


def _move(
    installation: Installation,
    draws: Sequence[Draw],
    parts: Sequence[Stretch],
    purses: dict[int | None, Purse],
    now: datetime,
) -> int:
    """Goes away first, then shorter, then longer, then new: no two draws ever lie over one another."""
    wanted = {(part.starts_at, purses[part.tenancy.pk if part.tenancy else None].pk): part for part in parts}
    known = {(draw.starts_at, draw.purse_id): draw for draw in draws}
    gone = [draw for key, draw in known.items() if key not in wanted]
    moved = [draw for key, draw in known.items() if key in wanted and draw.ends_at != wanted[key].ends_at]
    new = [part for key, part in wanted.items() if key not in known]
    if not (gone or moved or new):
        return 0
    if any(_is_closed(draw) for draw in gone):
        _ask(installation, now)
        return 0
    edges = [draw.starts_at for draw in gone] + [part.starts_at for part in new]
    for draw in moved:
        ends_at = wanted[draw.starts_at, draw.purse_id].ends_at
        edges += [at for at in (draw.ends_at, ends_at) if at]
    Draw.objects.filter(pk__in=[draw.pk for draw in gone]).delete()
    _end(moved, wanted)
    stays_current = any(draw.is_current for draw in moved) or any(
        draw.is_current for key, draw in known.items() if key in wanted
    )
    made = [_made(installation, part, purses) for part in new]
    if made and not stays_current:
        made[0].is_current = _takes_over(installation)
    Draw.objects.bulk_create(made)
    Draw.objects.filter(installation=installation, is_current=True).update(is_plain=False, why_not="changed")
    # What was closed over an edge is opened again, the day that ended there too.
    from_at = min(edges) - MILLISECOND if draws else min(edges)
    backlog.leave(installation_ids=[installation.pk], from_at=from_at, reason="tenancy", now=now)
    worklist.resolve(key=_key(installation), by=None, resolution="aligned", now=now)
    return len(gone) + len(moved) + len(made)


def _takes_over(installation: Installation) -> bool:
    """Whether readings of the meter are this installation's from now on. One that was taken down before this was hung
    gives way, read to its end or not."""
    current = Draw.objects.filter(meter=installation.meter_id, is_current=True)
    current.filter(installation__ends_at__lte=installation.starts_at).update(is_current=False)
    return not current.exists()


def _is_closed(draw: Draw) -> bool:
    """Whether a day of the draw was ever closed: then its rows stay, and so must it."""
    return draw.days.exists()


def _end(moved: Iterable[Draw], wanted: dict[tuple[datetime, int], Stretch]) -> None:
    def is_longer(draw: Draw) -> bool:
        ends_at = wanted[draw.starts_at, draw.purse_id].ends_at
        return ends_at is None or (draw.ends_at is not None and ends_at > draw.ends_at)

    for draw in sorted(moved, key=is_longer):
        draw.ends_at = wanted[draw.starts_at, draw.purse_id].ends_at
        draw.save(update_fields=["ends_at"])


def _made(installation: Installation, part: Stretch, purses: dict[int | None, Purse]) -> Draw:
    """A draw that nothing was counted on yet: the careful path finds where its chain stands."""
    model = installation.meter.model
    on = civil_date(part.starts_at)
    return Draw(
        property_id=installation.property_id,
        room_id=installation.room_id,
        installation=installation,
        meter_id=installation.meter_id,
        purse=purses[part.tenancy.pk if part.tenancy else None],
        tenancy=part.tenancy,
        starts_at=part.starts_at,
        ends_at=part.ends_at,
        is_current=False,
        counted_by=model.balance_held_by,
        last_at=part.starts_at,
        last_wh=installation.starts_wh,
        day_date=on,
        closed_until=on,
        ct_ratio=installation.ct_ratio,
        max_power_w=installation.max_power_w or model.max_power_w,
        plain_until_at=part.starts_at,
        why_not="new",
    )


def _key(installation: Installation) -> str:
    return f"{CLOSED}:{installation.pk}"


def _ask(installation: Installation, now: datetime) -> None:
    worklist.raise_item(
        key=_key(installation),
        kind=CLOSED,
        property_id=installation.property_id,
        detail={"meter": installation.meter.serial},
        trace="",
        now=now,
    )
