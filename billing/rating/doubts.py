"""Readings that cannot follow: kept apart with their reason, listed, decided by staff or by later readings.

Every change is a move of one table. Whatever is decided goes through the backlog, so that it is charged as it would
have been had it been known when the reading came.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from django.db import transaction

from accounts.models import User
from billing import backlog
from billing.models import Doubt
from billing.rating import chain
from billing.rating.chain import Doubtful, Ruling
from meters.models import Installation, Reading
from notifications import worklist

KIND: Final = "reading_in_doubt"  # a kind of work item

State = Doubt.State
DECIDED: Final[Mapping[str, Ruling]] = {
    State.BELIEVED: "believed",
    State.REBASED: "rebased",
    State.REJECTED: "rejected",
}
# Staff decide, and may think again; later readings clear a doubt, and a late one may bring it back.
MOVES: Final[Mapping[str, frozenset[str]]] = {
    State.OPEN: frozenset({State.BELIEVED, State.REBASED, State.REJECTED, State.CLEARED}),
    State.BELIEVED: frozenset({State.OPEN}),
    State.REBASED: frozenset({State.OPEN}),
    State.REJECTED: frozenset({State.OPEN}),
    State.CLEARED: frozenset({State.OPEN, State.REJECTED}),  # and what is counted may be ruled out
}


class CannotDecideError(Exception):
    """The doubt is not in a state from which this can be decided; somebody was quicker. Nothing was changed."""


def decide(*, doubt_id: int, as_: Ruling, by: User, note: str, now: datetime) -> None:
    """Decides about an open doubt: the reading is believed, begins anew (rebased), or is rejected.

    What follows from it is charged by the careful path, which also takes it off the work list. Raises
    CannotDecideError, and ValueError where a reason is missing.
    """
    if not note.strip():
        raise ValueError("a decision has a reason")
    _move(doubt_id, State(as_), by=by, note=note, now=now)


def undo(*, doubt_id: int, by: User, note: str, now: datetime) -> None:
    """Takes a decision back: the reading is in doubt again, and what followed from the decision is charged back."""
    if not note.strip():
        raise ValueError("a decision has a reason")
    _move(doubt_id, State.OPEN, by=by, note=note, now=now)


def rule_out(*, installation: Installation, read_at: datetime, by: User, note: str, now: datetime) -> None:
    """Rejects a reading that is counted, or was ruled upon otherwise: a person found it wrong. Again changes nothing.

    In the caller's transaction; what follows is charged anew by the careful path. Raises Reading.DoesNotExist, and
    ValueError where a reason is missing.
    """
    if not note.strip():
        raise ValueError("a decision has a reason")
    reading = Reading.objects.get(meter=installation.meter_id, read_at=read_at)
    doubt, is_new = Doubt.objects.select_for_update(no_key=True).get_or_create(
        installation=installation,
        read_at=read_at,
        defaults={
            "property_id": installation.property_id,
            "import_wh": reading.import_wh,
            "reason": Doubt.Reason.RULED_OUT,
            "state": State.CLEARED,
            "found_at": now,
        },
    )
    if not is_new and doubt.state == State.REJECTED:
        return
    doubt.decided_at, doubt.decided_by = now, by
    if doubt.state in DECIDED:
        _moved(doubt, State.OPEN, note=note)
    _moved(doubt, State.REJECTED, note=note)
    _charge_anew(doubt, now)


def _charge_anew(doubt: Doubt, now: datetime) -> None:
    """From just before the reading on: the interval that it ends changes too."""
    from_at = doubt.read_at - chain.MILLISECOND
    backlog.leave(installation_ids=[doubt.installation_id], from_at=from_at, reason="decided", now=now)


def rulings(installation_id: int) -> dict[datetime, Ruling]:
    """What staff decided about this installation's readings, by their instants."""
    decided = Doubt.objects.filter(installation_id=installation_id, state__in=DECIDED)
    return {read_at: DECIDED[state] for read_at, state in decided.values_list("read_at", "state")}


def found(*, installation: Installation, after_at: datetime, doubts: Iterable[Doubtful], now: datetime) -> bool:
    """Writes down what a fold from `after_at` on found in doubt, in the caller's transaction: whether any is open.

    What was in doubt and is no longer is cleared, and so is a glitch that the next reading healed; both stay on record.
    The caller works on this installation alone.
    """
    seen = {one.point.at: one for one in doubts}
    known = Doubt.objects.filter(installation=installation, read_at__gt=after_at).exclude(state__in=DECIDED)
    for doubt in known:
        one = seen.pop(doubt.read_at, None)
        state = State.OPEN if one and one.is_open else State.CLEARED
        if state != doubt.state:
            _moved(doubt, state, note=doubt.note)
    Doubt.objects.bulk_create(
        Doubt(
            installation=installation,
            property_id=installation.property_id,
            read_at=one.point.at,
            import_wh=one.point.wh,
            reason=one.reason,
            state=State.OPEN if one.is_open else State.CLEARED,
            found_at=now,
        )
        for one in seen.values()
    )
    return _listed(installation, now)


def _move(doubt_id: int, to: str, *, by: User, note: str, now: datetime) -> None:
    with transaction.atomic():
        doubt = Doubt.objects.select_for_update(no_key=True).get(pk=doubt_id)
        if to not in MOVES[doubt.state] or (to == State.OPEN and doubt.state not in DECIDED):
            raise CannotDecideError(f"a doubt that is {doubt.state} cannot become {to}")
        doubt.decided_at, doubt.decided_by = now, by
        _moved(doubt, to, note=note)
        _charge_anew(doubt, now)


def _moved(doubt: Doubt, to: str, *, note: str) -> None:
    """The guarded step: whoever was quicker has changed the state."""
    fields = {"decided_at": doubt.decided_at, "decided_by": doubt.decided_by, "note": note}
    legal = to in MOVES[doubt.state]
    if not legal or Doubt.objects.filter(pk=doubt.pk, state=doubt.state).update(state=to, **fields) != 1:
        raise CannotDecideError(f"a doubt that is {doubt.state} cannot become {to}")
    doubt.state, doubt.note = to, note


def _listed(installation: Installation, now: datetime) -> bool:
    """The oldest open doubt of the installation stands on the work list, and none where none is open."""
    key = f"doubt:{installation.pk}"
    first = Doubt.objects.filter(installation=installation, state=State.OPEN).order_by("read_at").first()
    if first is None:
        worklist.resolve(key=key, by=None, resolution="decided, or cleared by later readings", now=now)
        return False
    detail = {
        "meter": installation.meter.serial,
        "room": str(installation.room),
        "read_at": first.read_at.isoformat(),
        "import_wh": first.import_wh,
        "reason": first.reason,
        "doubt": first.pk,
    }
    worklist.raise_item(key=key, kind=KIND, property_id=installation.property_id, detail=detail, trace="", now=now)
    return True
