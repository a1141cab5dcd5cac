"""A recharge on its way from the payer's phone to the light in the room: which stages it has passed, and when.

Whoever paid may see it, also without a login, by the number of the recharge, which nobody can guess. So nothing in it
is about the people who live there; to them alone the power is explained in full.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from django.db.models import Count, Min, Prefetch, Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing import supply
from meters.models import Command, Installation, Level, Meter, Relay, TopUp
from payments.models import Order, Payment

LATE_AFTER: Final = {"paid": timedelta(seconds=60), "sent": timedelta(seconds=15), "power": timedelta(seconds=30)}
REVIEWED_WITHIN: Final = timedelta(seconds=5)  # what a recharge alone does not bring back, a review may
WATCHED_FOR: Final = timedelta(hours=1)  # a power cut of next week is no news of this recharge
WAITED_FOR: Final = timedelta(days=1)  # for a meter that was told to switch on and has not said that it did
NAMES: Final = {
    "placed": gettext_lazy("Order placed"),
    "paid": gettext_lazy("Paid"),
    "credited": gettext_lazy("Credited"),
    "sent": gettext_lazy("Sent to the meter"),
    "power": gettext_lazy("Power on"),
}


class State(StrEnum):
    WAITING = "waiting"
    DONE = "done"
    LATE = "late"
    NOT_NEEDED = "not_needed"


@dataclass(frozen=True, slots=True)
class Stage:
    """`name` is a key of NAMES. `at` is when it was passed, `seconds` how long after the payment; None where nobody
    noted it."""

    name: str
    state: State
    at: datetime | None = None
    seconds: float | None = None

    @property
    def label(self) -> str:
        return str(NAMES[self.name])


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages of an order in their order. `hint` is what to do where one takes long, blank while all is well;
    `is_over`: nothing more is going to happen. `is_paid`: a payment was found, perhaps since the order was read."""

    order: Order
    stages: Sequence[Stage]
    hint: str
    is_over: bool
    is_paid: bool = False

    @property
    def state(self) -> str:
        """Of the order, as it stands with what the stages say: they are read after it, and a callback may have come
        between."""
        is_overtaken = self.is_paid and self.order.state == Order.State.PLACED
        return str(Order.State.PAID if is_overtaken else self.order.state)


@dataclass(frozen=True, slots=True)
class _Facts:
    """`meters` is empty where they are not looked at any more; `told_on`: a relay was told to close."""

    order: Order
    payment: Payment | None
    meters: Sequence[Meter]
    top_up: TopUp | None
    told_on: bool
    told_at: datetime | None
    on_at: datetime | None
    now: datetime

    @property
    def paid_at(self) -> datetime | None:
        return self.payment.paid_at if self.payment else None

    @property
    def is_credited(self) -> bool:
        return self.payment is not None and self.payment.state == Payment.State.CREDITED

    @property
    def is_on(self) -> bool:
        return bool(self.meters) and all(meter.relay == Relay.CLOSED for meter in self.meters)

    @property
    def is_on_its_way(self) -> bool:
        """Whether something was to reach a meter because of this recharge."""
        return self.told_on or self.top_up is not None

    @property
    def is_kept_off(self) -> bool:
        """We ourselves want the power off, and not only until a review has looked at the new money."""
        found_at = self.payment.found_at if self.payment else self.now
        return self.now - found_at > REVIEWED_WITHIN and any(one.wanted == Relay.OPEN for one in self.relays)

    @property
    def relays(self) -> list[Level]:
        return [level for meter in self.meters for level in meter.relay_levels]  # type: ignore[attr-defined]  # see _meters


def of(order: Order, *, is_member: bool, now: datetime) -> Stages:
    """How far a recharge has come. Five queries, and a few more for a member whose power is not back.

    `is_member`: who looks lives there, and may read why the power is off.
    """
    facts = _facts(order, now)
    stages = [Stage("placed", State.DONE, order.placed_at), _paid(facts)]
    is_off = order.state == Order.State.CLOSED and facts.payment is None
    stages += [] if is_off else [_credited(facts), _sent(facts), _power(facts)]
    is_over = is_off or (facts.is_credited and stages[-1].state in (State.DONE, State.NOT_NEEDED))
    hint = _hint(facts, {one.name: one for one in stages}, is_member=is_member)
    return Stages(order, stages, hint, is_over, is_paid=facts.is_credited)


# ---- what is known ----


def _facts(order: Order, now: datetime) -> _Facts:
    payments = list(order.payments.order_by("pk"))
    payment = next((one for one in payments if not one.suspicion), payments[0] if payments else None)
    top_ups = list(TopUp.objects.filter(tenancy=order.tenancy_id, trace=order.trace).order_by("pk"))
    top_up = next((one for one in reversed(top_ups) if one.state != TopUp.State.CANCELLED), None)
    told = _told(order)
    facts = _Facts(
        order=order,
        payment=payment,
        meters=_meters(order),
        top_up=top_up or (top_ups[-1] if top_ups else None),
        told_on=told["times"] > 0,
        told_at=told["told_at"],
        on_at=told["on_at"],
        now=now,
    )
    return facts if _is_watched(facts) else replace(facts, meters=[])


def _meters(order: Order) -> list[Meter]:
    """What hangs there; where the money goes into one of several, that one."""
    relays = Prefetch("levels", Level.objects.filter(kind=Level.Kind.RELAY), to_attr="relay_levels")
    hanging = Installation.objects.filter(room=order.tenancy.room_id, ends_at=None).values("meter")
    found = Meter.objects.filter(pk__in=hanging).select_related("model").prefetch_related(relays).order_by("pk")
    meters: list[Meter] = list(found)
    return [meter for meter in meters if meter.pk == order.meter_id] or meters


def _told(order: Order) -> dict[str, Any]:
    """How often relays were told to close for this recharge, when first, and when a meter first said that it did."""
    told = Command.objects.filter(
        meter__installations__room=order.tenancy.room_id,
        kind=Command.Kind.RELAY,
        value=Relay.CLOSED,
        trace=order.trace,
        queued_at__gte=order.placed_at,
    )
    did = Q(state=Command.State.DONE)
    return told.aggregate(times=Count("pk"), told_at=Min("sent_at"), on_at=Min("answered_at", filter=did))


def _is_watched(facts: _Facts) -> bool:
    """Whether relays say something about this recharge: not once it is long ago, and never to those who moved out."""
    if not facts.order.tenancy.is_open(facts.now):
        return False
    if facts.paid_at is None or facts.now - facts.paid_at <= WATCHED_FOR:
        return True
    if facts.top_up is not None:
        return facts.top_up.state not in (TopUp.State.LANDED, TopUp.State.CANCELLED)
    return facts.told_on and facts.on_at is None and facts.now - facts.paid_at <= WAITED_FOR


# ---- each stage ----


def _paid(facts: _Facts) -> Stage:
    if facts.payment is not None:
        return Stage("paid", State.DONE, facts.payment.paid_at, 0.0)
    if facts.order.state == Order.State.CLOSED:
        return Stage("paid", State.NOT_NEEDED)
    return Stage("paid", _waiting("paid", since=facts.order.placed_at, now=facts.now))


def _credited(facts: _Facts) -> Stage:
    if facts.payment is None:
        return Stage("credited", State.WAITING)
    if facts.is_credited:
        return _done("credited", facts.payment.found_at, facts)
    return Stage("credited", State.LATE)


def _sent(facts: _Facts) -> Stage:
    """A meter that holds its money gets the money; one that does not is told to switch on, where it is off."""
    if not facts.is_credited:
        return Stage("sent", State.WAITING)
    sent_at = facts.top_up.sent_at if facts.top_up else facts.told_at
    if sent_at:
        return _done("sent", sent_at, facts)
    if _was_called_back(facts) or not facts.meters or (facts.is_on and not facts.is_on_its_way):
        return Stage("sent", State.NOT_NEEDED)
    return Stage("sent", _waiting("sent", since=facts.paid_at, now=facts.now))


def _power(facts: _Facts) -> Stage:
    if not facts.is_credited:
        return Stage("power", State.WAITING)
    if _came_on(facts):
        return _done("power", facts.top_up.landed_at if facts.top_up else _on_at(facts), facts)
    if _was_called_back(facts) or not facts.meters:
        return Stage("power", State.NOT_NEEDED)
    return Stage("power", _waiting("power", since=facts.paid_at, now=facts.now))


def _came_on(facts: _Facts) -> bool:
    if facts.top_up is not None:
        return facts.top_up.state == TopUp.State.LANDED and (facts.is_on or _is_history(facts))
    return facts.is_on or (facts.on_at is not None and _is_history(facts))


def _is_history(facts: _Facts) -> bool:
    """What the relays do now is another story: it is long ago, or somebody decided anew since."""
    return not facts.meters or any(one.wanted == Relay.OPEN for one in facts.relays)


def _was_called_back(facts: _Facts) -> bool:
    return facts.top_up is not None and facts.top_up.state == TopUp.State.CANCELLED


def _on_at(facts: _Facts) -> datetime | None:
    """When the light came back for this recharge; None where it was on all the time."""
    agreed = [
        one.agreed_at for one in facts.relays if one.agreed_at and facts.paid_at and one.agreed_at >= facts.paid_at
    ]
    return max(agreed, default=facts.on_at) if facts.told_on else None


def _done(name: str, at: datetime | None, facts: _Facts) -> Stage:
    seconds = max((at - facts.paid_at).total_seconds(), 0.0) if at and facts.paid_at else None
    return Stage(name, State.DONE, at, seconds)


def _waiting(name: str, *, since: datetime | None, now: datetime) -> State:
    return State.LATE if since and now - since > LATE_AFTER[name] else State.WAITING


# ---- what to do ----


def _hint(facts: _Facts, stages: dict[str, Stage], *, is_member: bool) -> str:
    if facts.payment is None and facts.order.state == Order.State.CLOSED:
        return _("This recharge was called off, and nothing was taken. Place a new one.")
    if stages["paid"].state == State.LATE:
        return _("If you have paid: do not pay again, we ask the payment provider. If you have not, you still can.")
    if stages["credited"].state == State.LATE:
        return _("The payment arrived and is looked into by a person. It is not lost.")
    if facts.is_credited and stages["power"].state != State.DONE:
        return _about_the_meter(facts, is_late=stages["power"].state == State.LATE, is_member=is_member)
    return ""


def _about_the_meter(facts: _Facts, *, is_late: bool, is_member: bool) -> str:
    """At once where a reason is known already, else when it takes long."""
    if facts.top_up is not None and facts.top_up.state in (TopUp.State.CANCELLED, TopUp.State.STUCK):
        return _("The money is credited, but it did not go into the meter. The property knows; ask the desk.")
    is_pressed_for = any(meter.relay == Relay.PERMITTED for meter in facts.meters)
    is_away = any(not meter.is_online for meter in facts.meters) and not facts.is_on
    if not (is_late or is_pressed_for or is_away or facts.is_kept_off):
        return ""
    if is_member and (why := _why(facts)):
        return why
    if is_pressed_for:
        return _("Press the button on the meter to switch the power on.")
    if is_away:
        return _(
            "The money is credited. The meter cannot be reached at the moment; the power comes back as soon as it can."
        )
    return _("The money is credited. The power is still off: who lives there reads why in their app, or ask the desk.")


def _why(facts: _Facts) -> str:
    said = supply.explain(tenancy=facts.order.tenancy, now=facts.now)
    return f"{said.why} {said.remedy}" if said.why else ""
