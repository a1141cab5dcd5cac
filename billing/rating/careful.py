"""The backlog is worked off, a room at a time: late, doubtful, shared, repriced, and whatever the fast path leaves.

Backlog rows are read without a lock and deleted last, guarded by their bumps: what came meanwhile is done once more.
One that fails waits longer each time and holds up nobody else; the third failure puts its tariff before a person.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import OperationalError, connection, transaction
from django.db.models import F, QuerySet

from billing import backlog
from billing.models import Backlog, Draw, Purse
from billing.rating import advance, reopen, room
from meters.models import Installation
from notifications import worklist

log = logging.getLogger(__name__)

leave = backlog.leave  # the door, for those who look for it here

FAILED: Final = "rating_failed"  # a kind of work item
TRIES_BEFORE_LISTED: Final = 3
WAIT_AT_MOST: Final = timedelta(hours=1)
# An installation without a draw waits until one is made for it, which puts it before us at once.
WITHOUT_DRAW: Final = timedelta(minutes=5)
LISTED_AT_MOST: Final = 20  # installations that a work item names

_ROOM_LOCK = "select pg_try_advisory_xact_lock(8151, %s::int)"

# Plan: one insert a purse, by key and in order.
_LOOK = """
insert into billing_review as v (purse_id, bumps, why, asked_at)
select id, 1, 'rated', %s from billing_purse where id = any(%s) and tenancy_id is not null order by id
on conflict (purse_id) do update set bumps = v.bumps + 1
"""


@dataclass(frozen=True, slots=True)
class _Left:
    """A backlog row as it was when it was read."""

    installation_id: int
    from_at: datetime
    bumps: int
    tries: int


def work(*, now: datetime, limit: int = 200) -> int:
    """Rates the rooms of the backlog that are due, each in a transaction of its own. Returns how many rows are done.

    Several callers share the work: a room that somebody else has is passed over. Raises OperationalError when the
    database is away.
    """
    due = Backlog.objects.filter(next_try_at__lte=now).order_by("next_try_at", "installation")[:limit]
    rooms = dict.fromkeys(due.values_list("installation__room_id", flat=True))
    return sum(_try(room_id, now) for room_id in rooms)


def _try(room_id: int, now: datetime) -> int:
    try:
        with transaction.atomic():
            return _rate(room_id, now)
    except OperationalError:
        raise
    except room.NoTariffError as error:
        with transaction.atomic():  # nobody's fault but a person's: the work list says it, once a property
            _wait(room_id, error, now)
        return 0
    except Exception as error:
        # Whatever a tariff or a chain can raise: its own meters wait, all others are rated.
        log.exception("readings of room %s could not be rated", room_id)
        with transaction.atomic():
            _wait(room_id, error, now)
        return 0


def _rate(room_id: int, now: datetime) -> int:
    with connection.cursor() as cursor:
        cursor.execute(_ROOM_LOCK, [room_id % 2**31])
        if not cursor.fetchone()[0]:
            return 0
    return rate_held(room_id=room_id, now=now)


def rate_held(*, room_id: int, now: datetime) -> int:
    """Rates what is due of a room's backlog in the caller's transaction. Returns how many rows are done.

    In the order of locks: the room's purses, its draws; the backlog is deleted last. Raises what rating can raise: the
    caller's transaction is lost, and the room waits.
    """
    draws = _held(room_id)
    left = [
        _Left(*row)
        for row in Backlog.objects.filter(installation__room=room_id, next_try_at__lte=now)
        .order_by("installation")
        .values_list("installation_id", "from_at", "bumps", "tries")
    ]
    drawn = {draw.installation_id for draw in draws}
    _put_off([one for one in left if one.installation_id not in drawn], now)
    ready = [one for one in left if one.installation_id in drawn]
    if not ready:
        return 0
    _reopen(draws, ready, now)
    found = room.rated(draws, now=now)
    changed = advance.write(found)
    _look({draw.purse_id for draw in changed if draw.counted_by == Draw.Counter.SERVER}, now)
    done = sum(Backlog.objects.filter(installation=one.installation_id, bumps=one.bumps).delete()[0] for one in ready)
    if any(one.tries for one in ready):
        _unlist(draws, now)
    return done


def _held(room_id: int) -> list[Draw]:
    """The room's draws, held with their purses. Draws that were made meanwhile come with the next round."""
    purse_ids = Draw.objects.filter(room=room_id).values_list("purse_id", flat=True)
    held = Purse.objects.select_for_update(no_key=True).filter(pk__in=list(purse_ids)).order_by("pk")
    purses = {purse.pk for purse in held}
    rows = Draw.objects.select_related("tenancy", "version").select_for_update(no_key=True, of=("self",))
    draws = list(rows.filter(room=room_id, purse__in=purses).order_by("pk"))
    return sorted(draws, key=lambda draw: (draw.installation_id, draw.starts_at))


def _put_off(left: Sequence[_Left], now: datetime) -> None:
    """A meter that hangs without a draw is nobody's yet; its readings are kept."""
    for one in left:
        row = Backlog.objects.filter(installation=one.installation_id, bumps=one.bumps)
        row.update(next_try_at=now + WITHOUT_DRAW)


def _reopen(draws: Sequence[Draw], left: Iterable[_Left], now: datetime) -> None:
    """Closed days that change are opened again, for the whole room."""
    firsts = [
        reopen.first_closed(
            [draw.pk for draw in draws if draw.installation_id == one.installation_id], from_at=one.from_at
        )
        for one in left
    ]
    if any(firsts):
        reopen.back_to(draws, min(on for on in firsts if on), now=now)


def _look(purse_ids: Iterable[int], now: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_LOOK, [now, sorted(purse_ids)])


# ---- what fails ----


def _wait(room_id: int, error: Exception, now: datetime) -> None:
    """Each failure doubles the wait."""
    rows = Backlog.objects.filter(installation__room=room_id, next_try_at__lte=now).order_by("installation")
    said = f"{type(error).__name__}: {error}"[:200]
    for row in rows:
        wait = min(timedelta(seconds=2 ** min(row.tries + 1, 12)), WAIT_AT_MOST)
        Backlog.objects.filter(pk=row.pk, bumps=row.bumps).update(
            tries=F("tries") + 1, error=said, next_try_at=now + wait
        )
        if row.tries + 1 >= TRIES_BEFORE_LISTED:
            _list(row.installation_id, said, now)


def _list(installation_id: int, said: str, now: datetime) -> None:
    """One work item for all that wait for the same tariff."""
    installation = Installation.objects.get(pk=installation_id)
    draw = Draw.objects.filter(installation=installation, version__isnull=False).order_by("-starts_at").first()
    tariff_id = draw.version.tariff_id if draw and draw.version else None
    meters = _waiting(tariff_id).filter(property=installation.property_id)
    serials = meters.order_by("installation").values_list("installation__meter__serial", flat=True).distinct()
    worklist.raise_item(
        key=f"{FAILED}:{installation.property_id}:{tariff_id or '-'}",
        kind=FAILED,
        property_id=installation.property_id,
        detail={"tariff": tariff_id, "error": said, "meters": list(serials[:LISTED_AT_MOST])},
        trace="",
        now=now,
    )


def _waiting(tariff_id: int | None) -> QuerySet[Backlog]:
    failed = Backlog.objects.filter(tries__gte=TRIES_BEFORE_LISTED)
    return failed if tariff_id is None else failed.filter(installation__draws__version__tariff=tariff_id)


def _unlist(draws: Iterable[Draw], now: datetime) -> None:
    """What failed has been rated: when nobody waits for the tariff any more, it leaves the work list by itself."""
    for property_id, tariff_id in {(draw.property_id, draw.version.tariff_id) for draw in draws if draw.version}:
        if not _waiting(tariff_id).filter(property=property_id).exists():
            key = f"{FAILED}:{property_id}:{tariff_id}"
            worklist.resolve(key=key, by=None, resolution="rated", now=now)


__all__ = ["leave", "rate_held", "work"]
