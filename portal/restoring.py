"""What a home without power lacks, in order: what its tenant can do, and what they have to wait for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.utils.translation import gettext as _

from accounts.models import User
from accounts.sentences import joined
from billing import emergency_credit, money, supply
from billing.models import CutHold, Purse, StaffHold
from meters import topups
from meters.models import Meter, Relay, TopUp
from payments.models import RechargeLimits
from portal import homes
from portal.homes import Home

CODES: Final = (
    "staff_hold", "money", "emergency_credit", "payment_being_confirmed", "recharge_on_its_way", "button",
    "meter_offline", "switching_on", "meter_decided", "meter_silent", "no_meter",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """`code` is one of CODES, for programs, and `text` for people. `amount_fen`: how much money is meant."""

    code: str
    text: str
    amount_fen: int | None = None


@dataclass(frozen=True, slots=True)
class Lacking:
    """`is_on` as the meters reported it. No steps: nothing is missing."""

    is_on: bool
    steps: tuple[Step, ...]


def lacking(*, user: User, home_id: int, now: datetime) -> Lacking | None:
    """What is missing for power in one's home; None when it is not theirs. Reads only."""
    home = homes.home(user=user, home_id=home_id, now=now)
    return _lacking(home, now) if home else None


def look_again(*, user: User, home_id: int, trace: str, now: datetime) -> Lacking | None:
    """Has supply decide about a home without power now, and says what is missing after that.

    Where the power is on nothing is decided: whoever asks for light is never cut for asking. Again changes nothing.
    """
    home = homes.home(user=user, home_id=home_id, now=now)
    purse = _purse(home) if home else None
    if home and purse and not _has_power(home):
        supply.decide(purse_id=purse.pk, trace=trace, now=now)
    return lacking(user=user, home_id=home_id, now=now)


def needed_fen(home: Home, limits: RechargeLimits) -> int:
    """The least that has to be recharged, and may be at once, for the power to come back; 0: money is not missing."""
    balance, purse = home.balance, _purse(home)
    if _is_cut(home) and purse:
        missing_fen = purse.restore_above_fen - balance.available_fen + 1
    elif _own_money_is_gone(home):  # a debt is paid back before anything goes on into the meter
        missing_fen = 1 - min(balance.available_fen, 0) - (balance.in_meter_fen or 0) - balance.in_transit_fen
    else:
        missing_fen = 0
    return max(missing_fen, limits.at_least_fen) if missing_fen > 0 else 0


def limits_of(home: Home) -> RechargeLimits:
    return RechargeLimits.objects.filter(property=home.tenancy.property_id).first() or RechargeLimits()


# ---- what is known of the home ----


def _purse(home: Home) -> Purse | None:
    return getattr(home.tenancy, "purse", None)


def _is_cut(home: Home) -> bool:
    """Whether it is off for money by our own decision."""
    levels = [level for meter in home.meters for level in meter.relay_levels]  # type: ignore[attr-defined]  # see homes
    return any(level.wanted == Relay.OPEN and level.reason == supply.Verdict.SPENT for level in levels)


def _has_power(home: Home) -> bool:
    """It is on, or nobody knows, and nobody wants it off."""
    return home.power.relay not in (Relay.OPEN, Relay.PERMITTED) and home.power.wanted != Relay.OPEN


# ---- what is missing ----


def _lacking(home: Home, now: datetime) -> Lacking:
    is_on = home.power.relay == Relay.CLOSED
    if is_on and home.power.wanted != Relay.OPEN:
        return Lacking(is_on, ())
    if not home.meters:
        return Lacking(
            is_on, (Step("no_meter", joined(_("No meter is recorded for this home."), _("Ask the property."))),)
        )
    return Lacking(is_on, (*_held(home), *_money(home, now), *_by_the_meters(home)))


def _held(home: Home) -> Iterator[Step]:
    if home.hold and home.hold.position == StaffHold.Position.OPEN:
        held = _("The property has switched the power off: %(reason)s") % {"reason": home.hold.reason}
        lifted = _("It comes back when the property lifts this. A recharge alone does not bring it back.")
        yield Step("staff_hold", joined(held, lifted))


def _money(home: Home, now: datetime) -> Iterator[Step]:
    purse, theirs = _purse(home), [meter.pk for meter in home.meters]
    if purse and CutHold.objects.filter(purse=purse, expires_at__gt=now).exists():
        said = joined(_("A payment is being confirmed."), _("The power comes back as soon as it is."))
        yield Step("payment_being_confirmed", said)
    if TopUp.objects.filter(meter__in=theirs, state__in=topups.ON_THEIR_WAY).exists():
        said = joined(_("Your recharge is on its way to the meter."), _("The power comes back when it arrives."))
        yield Step("recharge_on_its_way", said, home.balance.in_transit_fen)
    amount_fen = needed_fen(home, limits_of(home))
    if amount_fen:
        said = _("The balance is used up. Recharge at least %(amount)s.") % {"amount": money.shown(amount_fen)}
        yield Step("money", said, amount_fen)
    offer = emergency_credit.offer(purse=purse, now=now) if purse and amount_fen else None
    if offer and offer.amount_fen:
        said = _("Or take the emergency credit of %(amount)s by a tap.") % {"amount": money.shown(offer.amount_fen)}
        yield Step("emergency_credit", said, offer.amount_fen)


def _own_money_is_gone(home: Home) -> bool:
    """Whether a meter that holds its money is off because there is none in it."""
    return any(meter.holds_money() and (meter.balance_fen or 0) <= 0 and _is_off(meter) for meter in home.meters)


def _is_off(meter: Meter) -> bool:
    return meter.relay in (Relay.OPEN, Relay.PERMITTED)


def _by_the_meters(home: Home) -> Iterator[Step]:
    """Each thing once, however many meters it is true of."""
    yield from {step.code: step for meter in home.meters for step in _by_meter(home, meter)}.values()


def _by_meter(home: Home, meter: Meter) -> Iterator[Step]:
    if meter.relay == Relay.PERMITTED:
        yield Step("button", _("Press the button on the meter to switch the power on."))
    elif not meter.relay:
        yield Step("meter_silent", _("The meter has not reported yet whether the power is on."))
    elif meter.relay == Relay.OPEN and not meter.is_online:
        late = _("What you recharge reaches it as soon as it is back. If that takes long, tell the property.")
        yield Step("meter_offline", joined(_("The meter cannot be reached at the moment."), late))
    elif meter.relay == Relay.OPEN and meter.holds_money() and _decided_itself(home, meter):
        said = joined(_("The meter has switched off by itself."), _("Look at its display, and tell the property."))
        yield Step("meter_decided", said)
    elif meter.relay == Relay.OPEN and home.power.wanted == Relay.CLOSED:
        soon = _("It takes a few seconds. If not, tell the property.")
        yield Step("switching_on", joined(_("The meter has been told to switch on."), soon))


def _decided_itself(home: Home, meter: Meter) -> bool:
    """There is money in it, nothing is on its way, and nobody holds it off."""
    return (meter.balance_fen or 0) > 0 and not home.balance.in_transit_fen and home.power.wanted != Relay.OPEN
