"""Disputes: a tenant says that a reading is wrong, and what follows from it is frozen until a person decides.

Frozen are the days of the two intervals that touch the reading: they are not posted, and their cost cuts nobody.
Later usage is counted on and may lead to a cut. Nothing is ever decided by itself. Lock order: Purse, Draw, Dispute,
Doubt, Backlog, Meter.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from django.db import OperationalError, transaction
from django.utils.translation import gettext as _

from accounts.models import Tenancy, User
from billing import reviews
from billing.models import Dispute, Draw, Purse, UsageDay
from billing.rating import at_stake, chain, doubts, room
from billing.rating.at_stake import Stake
from billing.rating.chain import Point
from meters import staging
from meters.clocks import to_ms
from meters.models import Installation, Meter, Reading
from notifications import outbox, worklist

log = logging.getLogger(__name__)

OPENED: Final = "dispute_opened"  # kinds of work items
OVERDUE: Final = "dispute_overdue"
DECIDED: Final = "dispute_decided"  # a kind of message
LOUDER_AFTER: Final = timedelta(days=14)
REASON_AT_MOST: Final = 1000

State = Dispute.State
MOVES: Final[Mapping[str, frozenset[str]]] = {
    State.OPEN: frozenset({State.UPHELD, State.DISMISSED, State.WITHDRAWN}),
    State.UPHELD: frozenset(),
    State.DISMISSED: frozenset(),
    State.WITHDRAWN: frozenset(),
}


class DisputeRefused(Exception):
    """What was asked of a dispute cannot be done, and nothing was. `code` is for programs, `message` for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who disputes which reading of their home, and why. `meter` (its number) where the home has several.

    `key` is the request's: the same again is an answer.
    """

    tenancy: Tenancy
    by: User
    read_at: datetime
    reason: str
    key: str
    meter: str = ""


def open_dispute(claim: Claim, *, now: datetime) -> Dispute:
    """Freezes what follows from a reading of the tenancy's own time. Raises DisputeRefused.

    The caller knows that `by` lives there. Of two at once for one purse, one is opened.
    """
    reason, read_at = claim.reason.strip(), to_ms(claim.read_at)
    if not 0 < len(reason) <= REASON_AT_MOST:
        raise DisputeRefused("reason", _("Say in up to 1000 letters what is wrong with the reading."))
    if before := _opened_before(claim, read_at):
        return before
    draw = _draw_of(claim, read_at)
    stake = _stake(draw, read_at, now)
    with transaction.atomic():
        _hold(draw)
        if before := _opened_before(claim, read_at):
            return before
        _refuse_again(draw, read_at)
        dispute = Dispute.objects.create(
            key=claim.key,
            property_id=draw.property_id,
            tenancy=claim.tenancy,
            purse_id=draw.purse_id,
            draw=draw,
            read_at=read_at,
            import_wh=stake.reading.wh,
            from_date=stake.from_date,
            to_date=stake.to_date,
            frozen_nano=_frozen(draw, stake),
            reason=reason,
            opened_at=now,
            opened_by=claim.by,
        )
        _freeze(dispute)
        _list(dispute, kind=OPENED, now=now)
        reviews.ask(purse_ids=[dispute.purse_id], why="dispute", now=now)
    return dispute


def withdraw(*, dispute_id: int, by: User, now: datetime) -> Dispute:
    """The tenant takes it back; again it is an answer. Raises DisputeRefused where staff have decided."""
    with transaction.atomic():
        dispute = _held(dispute_id)
        if dispute.state != State.WITHDRAWN:
            _end(dispute, State.WITHDRAWN, by=by, note="", now=now)
    return dispute


def decide(
    *,
    dispute_id: int,
    as_: Literal["upheld", "dismissed"],
    by: User,
    note: str,
    now: datetime,
    right_wh: int | None = None,
) -> Dispute:
    """Staff decide. Dismissed: the reading counts, and its days are posted. Upheld: it is ruled out, or replaced by
    what the register showed in truth (`right_wh`), and its days are charged anew.

    Raises DisputeRefused: no note, decided or withdrawn before, a register that cannot stand between its neighbours.
    """
    if not note.strip():
        raise DisputeRefused("note", _("Say why it is decided so; the tenant reads it."))
    with transaction.atomic():
        dispute = _held(dispute_id)
        _end(dispute, State(as_), by=by, note=note.strip(), now=now)
        if dispute.state == State.UPHELD:
            _rule_out(dispute, right_wh, by=by, now=now)
        outbox.leave(
            key=f"{DECIDED}:{dispute.pk}",
            kind=DECIDED,
            tenancy_id=dispute.tenancy_id,
            property_id=dispute.property_id,
            context={"state": dispute.state, "read_at": dispute.read_at.isoformat(), "note": dispute.note},
            now=now,
        )
    return dispute


def follow(*, now: datetime) -> int:
    """Open disputes keep up with the readings around theirs, and get louder when nobody decides. How many changed.

    Run it every few minutes; disputes are few. One that cannot be followed stays as it is.
    """
    standing = Dispute.objects.filter(state=State.OPEN).select_related("draw").order_by("pk")
    return sum(_follow(dispute, now) for dispute in standing)


# ---- opening ----


def _opened_before(claim: Claim, read_at: datetime) -> Dispute | None:
    before = Dispute.objects.filter(key=claim.key).first()
    if before and (before.tenancy_id, before.read_at) != (claim.tenancy.pk, read_at):
        raise DisputeRefused("idempotency_key_reused", _("This Idempotency-Key was used for another request."))
    return before


def _draw_of(claim: Claim, read_at: datetime) -> Draw:
    """The part of this tenancy's usage that a reading lies in, its last instant too."""
    draws = Draw.objects.filter(tenancy=claim.tenancy, starts_at__lt=read_at).exclude(ends_at__lt=read_at)
    if claim.meter:
        draws = draws.filter(meter__serial=claim.meter)
    readings = Reading.objects.filter(read_at=read_at).values("meter_id")
    found = list(draws.filter(meter__in=readings).order_by("installation")[:2])
    if not found:
        raise DisputeRefused("no_such_reading", _("There is no such reading of this home in your time."))
    if len(found) > 1:
        raise DisputeRefused("which_meter", _("Several meters were read at that instant. Name the meter."))
    return found[0]


def _stake(draw: Draw, read_at: datetime, now: datetime) -> Stake:
    try:
        return at_stake.of(draw, read_at, now=now)
    except (at_stake.NotCountedError, room.NoTariffError) as error:
        raise DisputeRefused(
            "not_charged", _("Nothing is charged for this reading, so there is nothing to dispute.")
        ) from error


def _refuse_again(draw: Draw, read_at: datetime) -> None:
    """The purse is held."""
    if Dispute.objects.filter(purse=draw.purse_id, state=State.OPEN).exists():
        raise DisputeRefused("dispute_open", _("Another reading is being disputed. One at a time, please."))
    decided = Dispute.objects.filter(draw=draw, read_at=read_at, state__in=(State.UPHELD, State.DISMISSED))
    if decided.exists():
        raise DisputeRefused("decided", _("The property has decided about this reading already."))


def _frozen(draw: Draw, stake: Stake) -> int:
    """What a meter counts down itself is gone from it: a person gives it back, or nobody."""
    return stake.cost_nano if draw.counted_by == Draw.Counter.SERVER else 0


def _freeze(dispute: Dispute) -> None:
    """The caller holds the draw, so no day is being closed. Plan: the key of the draw's days."""
    days = UsageDay.objects.filter(draw=dispute.draw_id)
    if dispute.draw.counted_by == Draw.Counter.SERVER and dispute.state == State.OPEN:
        days.filter(usage_date__range=(dispute.from_date, dispute.to_date)).update(is_frozen=True)
        days = days.exclude(usage_date__range=(dispute.from_date, dispute.to_date))
    days.filter(is_frozen=True).update(is_frozen=False)


# ---- ending ----


def _held(dispute_id: int) -> Dispute:
    """The dispute, after its purse and its draw. Raises Dispute.DoesNotExist."""
    _hold(Draw.objects.get(disputes=dispute_id))
    return Dispute.objects.select_for_update(of=("self",)).select_related("draw").get(pk=dispute_id)


def _hold(draw: Draw) -> None:
    list(Purse.objects.select_for_update(no_key=True).filter(pk=draw.purse_id))
    list(Draw.objects.select_for_update(no_key=True).filter(pk=draw.pk))


def _end(dispute: Dispute, to: str, *, by: User, note: str, now: datetime) -> None:
    """The guarded step; what was frozen is free again, and is posted when its days are closed next."""
    if to not in MOVES[dispute.state]:
        raise DisputeRefused("decided", _("This dispute has ended already."))
    dispute.state, dispute.decided_at, dispute.decided_by, dispute.note = to, now, by, note
    dispute.save(update_fields=["state", "decided_at", "decided_by", "note"])
    _freeze(dispute)
    for key in (_key(dispute, OPENED), _key(dispute, OVERDUE)):
        worklist.resolve(key=key, by=None if to == State.WITHDRAWN else by, resolution=note or to, now=now)
    reviews.ask(purse_ids=[dispute.purse_id], why="dispute", now=now)


def _rule_out(dispute: Dispute, right_wh: int | None, *, by: User, now: datetime) -> None:
    installation = Installation.objects.select_related("meter__model").get(pk=dispute.draw.installation_id)
    if right_wh is not None:
        _enter(dispute, installation, right_wh, now)
    doubts.rule_out(installation=installation, read_at=dispute.read_at, by=by, note=dispute.note, now=now)


def _enter(dispute: Dispute, installation: Installation, right_wh: int, now: datetime) -> None:
    """What the register showed in truth, as a reading of its own beside the one that is ruled out."""
    reading = Point(dispute.read_at + chain.MILLISECOND, right_wh, source=Reading.Source.STAFF)
    stake = _stake(dispute.draw, dispute.read_at, now)
    if not at_stake.fits(stake, reading, rule=room.rule_of(installation)):
        raise DisputeRefused("register", _("This register cannot stand between the readings around it."))
    list(Meter.objects.select_for_update(no_key=True).filter(pk=installation.meter_id))
    row = staging.Row(
        installation.meter_id, reading.at, installation.property_id, right_wh, source=Reading.Source.STAFF.value
    )
    staging.put([row], stored_at=now)


# ---- while it stands ----


def _follow(dispute: Dispute, now: datetime) -> bool:
    try:
        stake = at_stake.of(dispute.draw, dispute.read_at, now=now)
        with transaction.atomic():
            return _adopt(_held(dispute.pk), stake, now)
    except OperationalError:
        raise
    except Exception:
        # Its reading is in doubt by now, or its tariff cannot be read: others tell staff, and it stays frozen.
        log.exception("dispute %s could not be followed", dispute.pk)
        return False


def _adopt(dispute: Dispute, stake: Stake, now: datetime) -> bool:
    if dispute.state != State.OPEN:
        return False
    if now - dispute.opened_at >= LOUDER_AFTER:
        _list(dispute, kind=OVERDUE, now=now)
    told = (stake.from_date, stake.to_date, _frozen(dispute.draw, stake))
    if told == (dispute.from_date, dispute.to_date, dispute.frozen_nano):
        return False
    dispute.from_date, dispute.to_date, dispute.frozen_nano = told
    dispute.save(update_fields=["from_date", "to_date", "frozen_nano"])
    _freeze(dispute)
    reviews.ask(purse_ids=[dispute.purse_id], why="dispute", now=now)
    return True


def _list(dispute: Dispute, *, kind: str, now: datetime) -> None:
    detail: dict[str, Any] = {
        "dispute": dispute.pk,
        "meter": dispute.draw.meter.serial,
        "tenancy": dispute.tenancy_id,
        "read_at": dispute.read_at.isoformat(),
        "since": dispute.opened_at.isoformat(),
    }
    key = _key(dispute, kind)
    worklist.raise_item(key=key, kind=kind, property_id=dispute.property_id, detail=detail, trace="", now=now)


def _key(dispute: Dispute, kind: str) -> str:
    return f"dispute:{dispute.pk}" if kind == OPENED else f"{kind}:{dispute.pk}"
