"""A recharge on its way from the payer's phone to the light in the room: which stages it has passed, and when.

Whoever paid may see it, also without a login, by the number of the recharge, which nobody can guess. So nothing in it
is about the people who live there; to them alone the power is explained in full.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from django.db.models import Prefetch
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing import supply
from meters.models import Command, Installation, Level, Meter, Relay, TopUp
from payments.models import Order, Payment

LATE_AFTER: Final = {"paid": timedelta(seconds=60), "sent": timedelta(seconds=15), "power": timedelta(seconds=30)}
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
    `is_over`: nothing more is going to happen."""

    order: Order
    stages: Sequence[Stage]
    hint: str
    is_over: bool


@dataclass(frozen=True, slots=True)
class _Facts:
    order: Order
    payment: Payment | None
    meters: Sequence[Meter]
    top_up: TopUp | None
    command: Command | None
    now: datetime

    @property
    def paid_at(self) -> datetime | None:
        return self.payment.paid_at if self.payment else None

    @property
    def is_on(self) -> bool:
        return bool(self.meters) and all(meter.relay == Relay.CLOSED for meter in self.meters)


def of(order: Order, *, is_member: bool, now: datetime) -> Stages:
    """How far a recharge has come. Five queries, and a few more for a member whose power is not back.

    `is_member`: who looks lives there, and may read why the power is off.
    """
    facts = _facts(order, now)
    stages = [Stage("placed", State.DONE, order.placed_at), _paid(facts)]
    stages += [_credited(facts), _sent(facts), _power(facts)] if order.state != Order.State.CLOSED else []
    is_over = order.state == Order.State.CLOSED or stages[-1].state in (State.DONE, State.NOT_NEEDED)
    return Stages(order, stages, _hint(facts, {one.name: one for one in stages}, is_member=is_member), is_over)


# ---- what is known ----


def _facts(order: Order, now: datetime) -> _Facts:
    payments = list(order.payments.order_by("pk"))
    payment = next((one for one in payments if not one.suspicion), payments[0] if payments else None)
    relays = Prefetch("levels", Level.objects.filter(kind=Level.Kind.RELAY), to_attr="relay_levels")
    hanging = Installation.objects.filter(room=order.tenancy.room_id, ends_at=None).values("meter")
    meters = list(Meter.objects.filter(pk__in=hanging).select_related("model").prefetch_related(relays).order_by("pk"))
    top_up = TopUp.objects.filter(tenancy=order.tenancy_id, trace=order.trace).order_by("pk").first()
    told = Command.objects.filter(meter__in=meters, trace=order.trace, kind=Command.Kind.RELAY)
    return _Facts(order, payment, meters, top_up, told.order_by("queued_at").first(), now)


# ---- each stage ----


def _paid(facts: _Facts) -> Stage:
    if facts.payment is not None:
        return Stage("paid", State.DONE, facts.payment.paid_at, 0.0)
    return Stage("paid", _waiting("paid", since=facts.order.placed_at, now=facts.now))


def _credited(facts: _Facts) -> Stage:
    payment = facts.payment
    if payment is None:
        return Stage("credited", State.WAITING)
    if payment.state == Payment.State.CREDITED:
        return _done("credited", payment.found_at, facts)
    return Stage("credited", State.LATE)


def _sent(facts: _Facts) -> Stage:
    """A meter that holds its money gets the money; one that does not is told to switch on, where it is off."""
    sent_at = _sent_at(facts)
    if sent_at:
        return _done("sent", sent_at, facts)
    if facts.paid_at and facts.top_up is None and facts.command is None and facts.is_on:
        return Stage("sent", State.NOT_NEEDED)
    return Stage("sent", _waiting("sent", since=facts.paid_at, now=facts.now))


def _power(facts: _Facts) -> Stage:
    if facts.paid_at is None:
        return Stage("power", State.WAITING)
    if facts.is_on and (facts.top_up is None or facts.top_up.state == TopUp.State.LANDED):
        return _done("power", _on_at(facts), facts)
    return Stage("power", _waiting("power", since=facts.paid_at, now=facts.now))


def _sent_at(facts: _Facts) -> datetime | None:
    if facts.top_up is not None:
        return facts.top_up.sent_at
    return facts.command.sent_at if facts.command else None


def _on_at(facts: _Facts) -> datetime | None:
    """When the light came back for this recharge; None where it was on all the time."""
    if facts.top_up is not None:
        return facts.top_up.landed_at
    agreed = [level.agreed_at for meter in facts.meters for level in meter.relay_levels]  # type: ignore[attr-defined]  # see _facts
    since = [at for at in agreed if at and facts.paid_at and at >= facts.paid_at]
    return max(since) if since and facts.command else None


def _done(name: str, at: datetime | None, facts: _Facts) -> Stage:
    seconds = max((at - facts.paid_at).total_seconds(), 0.0) if at and facts.paid_at else None
    return Stage(name, State.DONE, at, seconds)


def _waiting(name: str, *, since: datetime | None, now: datetime) -> State:
    return State.LATE if since and now - since > LATE_AFTER[name] else State.WAITING


# ---- what to do ----


def _hint(facts: _Facts, stages: dict[str, Stage], *, is_member: bool) -> str:
    if facts.order.state == Order.State.CLOSED:
        return _("This recharge was called off, and nothing was taken. Place a new one.")
    if stages["paid"].state == State.LATE:
        return _("If you have paid: do not pay again, we ask the payment provider. If you have not, you still can.")
    if stages["credited"].state == State.LATE:
        return _("The payment arrived and is looked into by a person. It is not lost.")
    if stages["power"].state == State.LATE:
        return _about_the_meter(facts, is_member=is_member)
    return ""


def _about_the_meter(facts: _Facts, *, is_member: bool) -> str:
    if is_member:
        said = supply.explain(tenancy=facts.order.tenancy, now=facts.now)
        if said.why:
            return f"{said.why} {said.remedy}"
    if any(meter.relay == Relay.PERMITTED for meter in facts.meters):
        return _("Press the button on the meter to switch the power on.")
    if any(not meter.is_online for meter in facts.meters):
        return _(
            "The money is credited. The meter cannot be reached at the moment; the power comes back as soon as it can."
        )
    return _("The money is credited. The power is still off: who lives there reads why in their app, or ask the desk.")
