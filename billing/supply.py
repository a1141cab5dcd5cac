"""When power may flow: the decision, what holds a cut back, and the answer to "why is my power off?".

A decision is made under the purse's lock and becomes wishes about the home's meters in the same transaction
(`billing_decide_supply`, migrations/0002_ledger.py). Lock order: Purse, then holds, then the meters' levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from django.db import connection, transaction
from django.db.models import BigIntegerField, F, Func
from django.utils.translation import gettext as _

from accounts.models import Room, Tenancy
from billing import money
from billing.models import CutHold, Purse, StaffHold, SupplyPolicy
from meters import topups
from meters.models import Installation, Level, Meter, MeterModel, Relay, TopUp
from notifications import worklist
from notifications.models import WorkItem

DEBT = "debt_without_basis"  # a kind of work item

# Plan: purse, tenancy, hold, policy, the room's meters and their levels, each by a unique or partial index.
_DECIDE = "select billing_decide_supply(%s::bigint, %s, %s)"


class Verdict(StrEnum):
    """What was decided for a home, and the reason that its meters' levels carry."""

    HOLD_OPEN = "hold_open"  # staff hold it off, stronger than money
    HOLD_CLOSED = "hold_closed"  # staff hold it on
    PAID = "paid"  # the available balance is above zero
    SPENT = "spent"  # nothing is left and the property has recorded on what basis it may cut
    SPARED = "spared"  # nothing is left, but nobody may cut: no recorded basis, or a payment is being found out about
    NONE = "none"  # nobody draws on this purse now


def locked(purse_id: int) -> Purse:
    """The purse, held until the end of the caller's transaction. Raises Purse.DoesNotExist."""
    return Purse.objects.select_for_update(no_key=True, of=("self",)).get(pk=purse_id)


def decide(*, purse_id: int, trace: str, now: datetime) -> Verdict:
    """Decides for the home that draws on this purse whether power is wanted, and tells its meters.

    A debt that nobody may cut for, for lack of a recorded legal basis, goes onto the work list; it leaves it when the
    debt is gone.
    """
    with transaction.atomic():
        purse = locked(purse_id)
        with connection.cursor() as cursor:
            cursor.execute(_DECIDE, [purse_id, trace, now])
            verdict = Verdict(cursor.fetchone()[0])
        _list_debt(purse, verdict, trace=trace, now=now)
    return verdict


def _list_debt(purse: Purse, verdict: Verdict, *, trace: str, now: datetime) -> None:
    if purse.available_fen() > 0:
        worklist.resolve(key=_debt_key(purse), by=None, resolution=_("The debt is paid."), now=now)
    elif verdict == Verdict.SPARED and _owes(purse) and not _may_be_cut(purse):
        worklist.raise_item(
            key=_debt_key(purse),
            kind=DEBT,
            property_id=purse.property_id,
            detail={"purse": purse.pk, "tenancy": purse.tenancy_id, "available_fen": purse.available_fen()},
            trace=trace,
            now=now,
        )


def _debt_key(purse: Purse) -> str:
    return f"debt:{purse.pk}"


def _owes(purse: Purse) -> bool:
    """Whether a cut would be due. Where meters hold the money a purse stands at zero and nothing is wrong."""
    if purse.available_fen() < 0:
        return True
    rated_here = Installation.objects.filter(
        room__tenancies__purse=purse,
        ends_at=None,
        meter__model__balance_held_by=MeterModel.BalanceHolder.SERVER,
    )
    return rated_here.exists()


def _may_be_cut(purse: Purse) -> bool:
    return SupplyPolicy.objects.filter(property_id=purse.property_id).exists()


def place_cut_hold(*, purse_id: int, key: str, reason: str, expires_at: datetime) -> None:
    """Nobody is cut for this purse's sake until then: somebody above is finding out about money of it.

    The same key again moves the end. It never restores power that is off already.
    """
    with transaction.atomic():
        locked(purse_id)  # a decision that is being made now is made before, or knows of it
        CutHold.objects.bulk_create(
            [CutHold(purse_id=purse_id, key=key, reason=reason, expires_at=expires_at)],
            update_conflicts=True,
            unique_fields=["key"],
            update_fields=["reason", "expires_at"],
        )


def drop_cut_hold(*, purse_id: int, key: str, trace: str, now: datetime) -> bool:
    """Takes a cut hold back and decides again. False when it does not stand (any more)."""
    with transaction.atomic():
        locked(purse_id)
        dropped, _rows = CutHold.objects.filter(purse_id=purse_id, key=key).delete()
        if dropped:
            decide(purse_id=purse_id, trace=trace, now=now)
    return dropped > 0


def recheck(*, now: datetime, limit: int = 500) -> int:
    """Decides again where a cut hold ran out, and where a listed debt was paid. Returns for how many purses.

    A purse a transaction. Run it every few seconds; whoever dies in between leaves the rest to the next round.
    """
    expired = CutHold.objects.filter(expires_at__lte=now).order_by("purse_id").values_list("purse_id", flat=True)
    due = sorted({*expired.distinct()[:limit], *_paid_debts(limit)})
    for purse_id in due:
        with transaction.atomic():
            locked(purse_id)
            CutHold.objects.filter(purse_id=purse_id, expires_at__lte=now).delete()
            decide(purse_id=purse_id, trace="", now=now)
    return len(due)


def _paid_debts(limit: int) -> list[int]:
    """Purses whose debt is on the work list although a recharge has paid it (a recharge decides within SQL)."""
    listed = WorkItem.objects.filter(kind=DEBT, state=WorkItem.State.OPEN).values_list("detail__purse", flat=True)
    available_fen = Func(F("pk"), function="billing_available_fen", output_field=BigIntegerField())
    paid = Purse.objects.filter(pk__in=list(listed)).annotate(available=available_fen)
    return list(paid.filter(available__gt=0).order_by("pk").values_list("pk", flat=True)[:limit])


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a home has no power, or is about to lose it, and how it comes back. Both texts are empty when all is well.

    `verdict` is the last decision, `is_off` what the meters themselves reported (any of them).
    """

    verdict: Verdict
    is_off: bool
    why: str
    remedy: str


def explain(*, tenancy: Tenancy, now: datetime) -> Explanation:
    """The answer to "why is my power off?", in the reader's language. Reads only."""
    if not tenancy.is_open(now):
        return _nothing(_("This tenancy has ended."))
    hanging = Installation.objects.filter(room_id=tenancy.room_id, ends_at=None).select_related("meter__model")
    meters = [installation.meter for installation in hanging.order_by("meter_id")]
    if not meters:
        return _nothing(_("No meter is recorded for this home."))
    verdict = _last_verdict(meters)
    off = [meter for meter in meters if meter.relay in (Relay.OPEN, Relay.PERMITTED)]
    why, remedy = _by_decision(tenancy, verdict, meters) or (_by_meter(off[0], verdict) if off else ("", ""))
    return Explanation(verdict=verdict, is_off=bool(off), why=why, remedy=remedy)


def _nothing(why: str) -> Explanation:
    return Explanation(verdict=Verdict.NONE, is_off=False, why=why, remedy=_("Ask the property."))


def _last_verdict(meters: list[Meter]) -> Verdict:
    """What the meters were told, and why: a decision tells all of them the same."""
    told = Level.objects.filter(meter__in=meters, kind=Level.Kind.RELAY).order_by("-wanted_at").first()
    return Verdict(told.reason) if told and told.reason in set(Verdict) else Verdict.NONE


def _by_decision(tenancy: Tenancy, verdict: Verdict, meters: list[Meter]) -> tuple[str, str] | None:
    """When we ourselves want the power off."""
    if verdict == Verdict.HOLD_OPEN:
        return _held_off(tenancy.room)
    if verdict == Verdict.SPENT and not all(meter.holds_money() for meter in meters):
        purse = Purse.objects.filter(tenancy=tenancy).first()
        if purse is not None and purse.available_fen() < 0:
            remedy = _("Recharge more than %(debt)s, which is owed, and the power comes back within seconds.")
            return _("The balance is used up."), remedy % {"debt": money.shown(-purse.available_fen())}
        return _("The balance is used up."), _("Recharge, and the power comes back within seconds.")
    return None


def _held_off(room: Room) -> tuple[str, str]:
    hold = StaffHold.objects.filter(room=room, lifted_at=None).first()
    reason = hold.reason if hold else ""
    return (
        _("The property has switched the power off: %(reason)s") % {"reason": reason},
        _("It comes back when the property lifts this. A recharge alone does not bring it back."),
    )


def _by_meter(meter: Meter, verdict: Verdict) -> tuple[str, str]:
    """When a meter is off although nobody but itself, or nobody at all, wants it to be."""
    if meter.relay == Relay.PERMITTED:
        return _("The meter waits for you."), _("Press the button on the meter to switch the power on.")
    if not meter.is_online:
        return (
            _("The meter cannot be reached at the moment."),
            _("What you recharge reaches it as soon as it is back. If that takes long, tell the property."),
        )
    if meter.holds_money():
        return _by_own_money(meter)
    if verdict == Verdict.SPARED:
        return _("A payment is being confirmed."), _("The power comes back as soon as it is.")
    return _("The meter has been told to switch on."), _("It takes a few seconds. If not, tell the property.")


def _by_own_money(meter: Meter) -> tuple[str, str]:
    if TopUp.objects.filter(meter=meter, state__in=topups.ON_THEIR_WAY).exists():
        return _("Your recharge is on its way to the meter."), _("The power comes back when it arrives.")
    if meter.balance_fen is not None and meter.balance_fen <= 0:
        return _("The money in the meter is used up."), _("Recharge, and the meter switches on by itself.")
    return _("The meter has switched off by itself."), _("Look at its display, and tell the property.")
