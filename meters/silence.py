"""What waits for too long: shown to staff after a limit, and tried again all the same where that can help.

One work item a meter and matter (relay, shown balance, top-up) that it does not answer, one for each top-up that waits
for nobody (its tenancy is over, or its meter hangs there no more), and one a meter for the parameters that it refuses
or has not taken for a day. They are resolved by themselves when that ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from django.db.models import F
from django.utils.translation import gettext

from meters import desired, topups
from meters.models import Level, TopUp
from notifications import worklist
from notifications.models import WorkItem

KIND = "meter_does_not_answer"
KIND_FOR_NOBODY = "top_up_waits_for_nobody"
KIND_PARAMETERS = "parameters_not_taken"
AFTER = timedelta(minutes=10)
PARAMETERS_AFTER = timedelta(days=1)  # nobody is without power for want of them
AT_MOST = 500  # items a round: after a broken network the list must not take the database with it


def look(*, now: datetime, after: timedelta = AFTER) -> int:
    """Puts what has waited for longer than `after` on the work list, and takes off what has come right.

    Returns how many items were raised anew.
    """
    silent = _look_at_silent_meters(now=now, after=after)
    return silent + _look_at_top_ups_for_nobody(now=now, after=after) + _look_at_parameters(now=now)


def _look_at_silent_meters(*, now: datetime, after: timedelta) -> int:
    open_keys = _open_keys(KIND)
    waiting = _waiting(now=now, after=after)
    for key in sorted(open_keys - waiting.keys()):
        if _is_over(key, now=now):
            worklist.resolve(key=key, by=None, resolution=gettext("The meter has answered."), now=now)
    return _raise(KIND, {key: matter for key, matter in waiting.items() if key not in open_keys}, now=now)


def _look_at_top_ups_for_nobody(*, now: datetime, after: timedelta) -> int:
    """Their money is for nobody who lives there: a person gives it back, or hangs the meter there again."""
    open_keys = _open_keys(KIND_FOR_NOBODY)
    rows = TopUp.objects.filter(topups.for_nobody_since(now - after), queued_at__lte=now - after)
    waiting = {f"for_nobody:{top_up.pk}": top_up for top_up in rows.select_related("meter", "tenancy")}
    for key in sorted(open_keys - waiting.keys()):
        resolution = gettext("The top-up does not wait any more, or may go again.")
        worklist.resolve(key=key, by=None, resolution=resolution, now=now)
    return _raise(KIND_FOR_NOBODY, {key: one for key, one in waiting.items() if key not in open_keys}, now=now)


def _look_at_parameters(*, now: datetime) -> int:
    """What a meter refuses stays refused: it is not asked again before something else is laid down."""
    open_keys = _open_keys(KIND_PARAMETERS)
    untaken: dict[str, list[desired.Untaken]] = {}
    for one in desired.untaken(now=now, after=PARAMETERS_AFTER):
        untaken.setdefault(f"parameters:{one.meter_id}", []).append(one)
    for key in sorted(open_keys - untaken.keys()):
        worklist.resolve(key=key, by=None, resolution=gettext("The meter goes by what is laid down."), now=now)
    fresh = sorted(untaken.keys() - open_keys)[:AT_MOST]
    for key in fresh:
        first, *_ = theirs = untaken[key]
        worklist.raise_item(
            key=key,
            kind=KIND_PARAMETERS,
            property_id=first.property_id,
            detail={"meter": first.serial, "online": first.is_online}
            | {one.kind: one.error or "not_answered" for one in theirs},
            trace="",
            now=now,
        )
    return len(fresh)


def _open_keys(kind: str) -> set[str]:
    return set(WorkItem.objects.filter(kind=kind, state=WorkItem.State.OPEN).values_list("key", flat=True))


def _raise(kind: str, matters: Mapping[str, Level | TopUp], *, now: datetime) -> int:
    fresh = sorted(matters)[:AT_MOST]
    for key in fresh:
        matter = matters[key]
        worklist.raise_item(
            key=key,
            kind=kind,
            property_id=matter.meter.property_id,
            detail=_told(matter) | ({"why": _why_for_nobody(matter, now=now)} if kind == KIND_FOR_NOBODY else {}),
            trace=matter.trace,
            now=now,
        )
    return len(fresh)


def _waiting(*, now: datetime, after: timedelta) -> dict[str, Level | TopUp]:
    levels = desired.overdue(now=now, after=after).select_related("meter")
    queues = topups.overdue(now=now, after=after).select_related("meter").order_by("-pk")  # the first of a meter wins
    waiting: dict[str, Level | TopUp] = {f"silent:{level.meter_id}:{level.kind}": level for level in levels}
    return waiting | {f"silent:{top_up.meter_id}:top_up": top_up for top_up in queues}


def _is_over(key: str, *, now: datetime) -> bool:
    """A newer wish restarts the clock but is no answer: the item stays until nothing waits any more."""
    _, meter, matter = key.split(":")
    if matter == "top_up":
        return not topups.still_going(now=now).filter(meter_id=meter).exists()
    return not Level.objects.filter(meter_id=meter, kind=matter).exclude(wanted=F("reported")).exists()


def _told(matter: Level | TopUp) -> dict[str, object]:
    told: dict[str, object] = {"meter": matter.meter.serial, "online": matter.meter.is_online, "tries": matter.tries}
    if isinstance(matter, Level):
        return told | {"wanted": matter.wanted, "reported": matter.reported, "since": matter.wanted_at.isoformat()}
    return told | {"amount_fen": matter.amount_fen, "state": matter.state, "since": matter.queued_at.isoformat()}


def _why_for_nobody(matter: Level | TopUp, *, now: datetime) -> str:
    tenancy = matter.tenancy if isinstance(matter, TopUp) else None
    ended = tenancy is not None and tenancy.ends_at is not None and tenancy.ends_at <= now
    return "tenancy_ended" if ended else "meter_taken_down"
