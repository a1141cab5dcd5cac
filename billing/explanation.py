"""The answer to "why is my power off?", in the reader's language."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _

from accounts.models import Room, Tenancy
from billing import money, supply_words
from billing.models import Purse, StaffHold, SupplyDecision
from billing.policy import Verdict
from meters import topups
from meters.models import Installation, Level, Meter, Relay, TopUp


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
    by_decision = None if off and verdict == Verdict.SPARED else _by_decision(tenancy, verdict, meters, now)
    why, remedy = by_decision or (_by_meter(off[0]) if off else ("", ""))
    return Explanation(verdict=verdict, is_off=bool(off), why=why, remedy=remedy)


def _nothing(why: str) -> Explanation:
    return Explanation(verdict=Verdict.NONE, is_off=False, why=why, remedy=_("Ask the property."))


def _last_verdict(meters: list[Meter]) -> Verdict:
    """What the meters were told, and why: a decision tells all of them the same."""
    told = Level.objects.filter(meter__in=meters, kind=Level.Kind.RELAY).order_by("-wanted_at").first()
    return Verdict(told.reason) if told and told.reason in set(Verdict) else Verdict.NONE


def _by_decision(tenancy: Tenancy, verdict: Verdict, meters: list[Meter], now: datetime) -> tuple[str, str] | None:
    """When we ourselves want the power off, or soon may."""
    if verdict == Verdict.HOLD_OPEN:
        return _held_off(tenancy.room)
    if all(meter.holds_money() for meter in meters):
        return None
    purse = Purse.objects.filter(tenancy=tenancy).first()
    if verdict == Verdict.SPENT:
        return _cut(purse, now)
    if verdict == Verdict.SPARED:
        return _spared(purse)
    return None


def _cut(purse: Purse | None, now: datetime) -> tuple[str, str]:
    if purse is None:
        return _("The balance is used up."), _("Recharge, and the power comes back within seconds.")
    if purse.cut_holds.filter(expires_at__gt=now).exists():
        return _("A payment is being confirmed."), _("The power comes back as soon as it is.")
    missing_fen = purse.restore_above_fen - purse.available_fen()
    if missing_fen <= 0:
        remedy = _("Recharge, and the power comes back within seconds.")
    elif purse.restore_above_fen > 0:
        text = _("Recharge more than %(missing)s: the power comes back when more than %(limit)s is there.")
        remedy = text % {"missing": money.shown(missing_fen), "limit": money.shown(purse.restore_above_fen)}
    else:
        text = _("Recharge more than %(debt)s, which is owed, and the power comes back within seconds.")
        remedy = text % {"debt": money.shown(missing_fen)}
    return _("The balance is used up."), remedy


def _spared(purse: Purse | None) -> tuple[str, str] | None:
    """Used up and not cut: every reason that stands, as the last decision had it."""
    last = SupplyDecision.objects.filter(purse=purse).order_by("-decided_at", "-pk").first() if purse else None
    reasons = supply_words.why_not(last.because) if last else []
    if not reasons:
        return None
    return (
        _("The balance is used up. The power is not cut now: %(reasons)s.") % {"reasons": supply_words.listed(reasons)},
        _("Recharge in time, and it stays on."),
    )


def _held_off(room: Room) -> tuple[str, str]:
    hold = StaffHold.objects.filter(room=room, lifted_at=None).first()
    reason = hold.reason if hold else ""
    return (
        _("The property has switched the power off: %(reason)s") % {"reason": reason},
        _("It comes back when the property lifts this. A recharge alone does not bring it back."),
    )


def _by_meter(meter: Meter) -> tuple[str, str]:
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
    return _("The meter has been told to switch on."), _("It takes a few seconds. If not, tell the property.")


def _by_own_money(meter: Meter) -> tuple[str, str]:
    if TopUp.objects.filter(meter=meter, state__in=topups.ON_THEIR_WAY).exists():
        return _("Your recharge is on its way to the meter."), _("The power comes back when it arrives.")
    if meter.balance_fen is not None and meter.balance_fen <= 0:
        return _("The money in the meter is used up."), _("Recharge, and the meter switches on by itself.")
    return _("The meter has switched off by itself."), _("Look at its display, and tell the property.")
