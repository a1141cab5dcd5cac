"""Readings whose clock cannot be right: kept apart, never charged, on the work list until a person decides.

No energy is lost by it: registers are cumulative, the next good reading covers it. A person drops one, or uses it at an
instant that they name: then it is a reading like any other, and says where it came from.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from django.db import connection, transaction
from django.utils.translation import gettext

from accounts.models import User
from meters import clocks, staging
from meters.models import Meter, Reading, StrayReading
from meters.reports import Told
from notifications import worklist

KIND = "clock_is_off"
State = StrayReading.State
MOVES: dict[str, frozenset[str]] = {
    State.OPEN: frozenset({State.USED, State.DROPPED}),
    State.USED: frozenset(),
    State.DROPPED: frozenset(),
}
_KEEP = """
insert into meters_strayreading
    (meter_id, property_id, read_at, received_at, import_wh, period_wh, balance_fen, reason, state, note)
select meter_id, property_id, read_at, received_at, import_wh, period_wh, balance_fen, reason, 'open', ''
  from jsonb_to_recordset(%s) as s (meter_id bigint, property_id bigint, read_at timestamptz, received_at timestamptz,
                                    import_wh bigint, period_wh bigint[], balance_fen bigint, reason text)
    on conflict do nothing
returning meter_id, property_id, read_at, received_at, reason
"""


class StrayRefusedError(Exception):
    """Theirs to mend: what was asked of a stray reading cannot be; the text is for staff."""


def sift(told: Sequence[Told], *, now: datetime) -> tuple[list[Told], int]:
    """Keeps apart what cannot be right. What can be, in its order, and how many were kept apart for the first time.

    The caller's transaction holds the meters.
    """
    fit, apart = [], []
    for one in told:
        reason = clocks.verdict(at=one.report.at, received_at=one.received_at)
        if reason:
            apart.append((one, reason))
        else:
            fit.append(one)
    return fit, _keep(apart, now=now) if apart else 0


def use(*, stray_id: int, at: datetime, by: User, note: str, now: datetime) -> Reading:
    """It is a reading of the instant that a person names, and goes to be rated. Raises StrayRefusedError."""
    at = clocks.to_ms(at)
    if at > now or clocks.verdict(at=at, received_at=now):
        raise StrayRefusedError(gettext("No reading can be from that instant."))
    with transaction.atomic():
        stray = _held(stray_id)
        _move(stray, State.USED, by=by, note=note, now=now)
        row = staging.Row(
            stray.meter_id,
            at,
            stray.property_id,
            stray.import_wh,
            balance_fen=stray.balance_fen,
            period_wh=stray.period_wh,
            source=Reading.Source.STRAY,
        )
        if staging.put([row], stored_at=now).batch_id is None:
            raise StrayRefusedError(gettext("This meter has a reading of that very instant already."))
        _settle(stray.meter_id, by=by, now=now)
    return Reading.objects.get(meter_id=stray.meter_id, read_at=at)


def drop(*, stray_id: int, by: User, note: str, now: datetime) -> None:
    """It stays written down, and counts for nothing. Raises StrayRefusedError."""
    with transaction.atomic():
        stray = _held(stray_id)
        _move(stray, State.DROPPED, by=by, note=note, now=now)
        _settle(stray.meter_id, by=by, now=now)


def _keep(apart: Sequence[tuple[Told, str]], *, now: datetime) -> int:
    with connection.cursor() as cursor:
        cursor.execute(_KEEP, [json.dumps([_row(one, reason) for one, reason in apart])])
        kept = cursor.fetchall()
    of_meter = {row[0]: row for row in kept}
    serials = {one.meter.pk: one.meter.serial for one, _ in apart}
    for meter_id in sorted(of_meter):
        _, property_id, read_at, received_at, reason = of_meter[meter_id]
        detail = {"meter": serials[meter_id], "why": reason, "said": _text(read_at), "received": _text(received_at)}
        worklist.raise_item(
            key=f"clock:{meter_id}", kind=KIND, property_id=property_id, detail=detail, trace="", now=now
        )
    return len(kept)


def _row(told: Told, reason: str) -> dict[str, object]:
    meter, report = told.meter, told.report
    return {
        "meter_id": meter.pk,
        "property_id": meter.property_id,
        "read_at": _text(clocks.to_ms(report.at)),
        "received_at": _text(told.received_at),
        "import_wh": report.import_wh,
        "period_wh": report.period_wh,
        "balance_fen": report.balance_fen,
        "reason": reason,
    }


def _text(at: datetime) -> str:
    return at.isoformat()


def _held(stray_id: int) -> StrayReading:
    """The meter first, as in the intake; then the stray."""
    meter = StrayReading.objects.filter(pk=stray_id).values("meter_id")
    list(Meter.objects.select_for_update(no_key=True).filter(pk__in=meter).values_list("pk"))
    return StrayReading.objects.select_for_update().get(pk=stray_id)


def _move(stray: StrayReading, to: str, *, by: User, note: str, now: datetime) -> None:
    if to not in MOVES[stray.state]:
        raise StrayRefusedError(gettext("Somebody has decided about this reading already."))
    stray.state, stray.decided_by, stray.decided_at, stray.note = to, by, now, note
    stray.save(update_fields=["state", "decided_by", "decided_at", "note"])


def _settle(meter_id: int, *, by: User, now: datetime) -> None:
    if not StrayReading.objects.filter(meter_id=meter_id, state=State.OPEN).exists():
        resolution = gettext("All readings with a wrong clock have been decided about.")
        worklist.resolve(key=f"clock:{meter_id}", by=by, resolution=resolution, now=now)
