"""What the counter is told before it takes money or gives it back: how the home stands, and what will come of it.

A forecast from what is stored at that moment; what is done afterwards decides by itself, on rows that it holds.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Q, QuerySet, Sum
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.deeds import Answers, Facts, Text
from accounts.models import Member, Room, Tenancy
from billing import money
from billing.models import Purse, StaffHold
from meters import topups
from meters.models import Meter, MeterModel, Relay, TopUp
from payments import counter
from payments.capitals import in_capitals
from payments.models import CounterReceipt, Means, RechargeLimits

METER, SERVER = MeterModel.BalanceHolder.METER, MeterModel.BalanceHolder.SERVER
WITHOUT_POWER = (Relay.OPEN, Relay.PERMITTED)


def before_taking(answers: Answers) -> Facts:
    """Whose home, how it stands, how much, and what will happen."""
    home: Tenancy = answers["tenancy"]
    amount_fen: int = answers["amount"]
    amount = format_html("<strong>{}</strong> {}", money.shown(amount_fen), in_capitals(amount_fen))
    facts: list[tuple[Text, object]] = [
        (_("property"), home.property),
        (_("room"), home.room),
        (_("members"), ", ".join(member.called_with_phone() for member in _present(home))),
        *_money_of(home),
        (_("amount"), amount),
        (_("means of payment"), Means(answers["means"]).label),
        (_("received from"), answers["payer"] or holder_of(home)),
        (_("what will happen"), _lines(_after_taking(home, amount_fen, answers["meter"]))),
    ]
    limits = RechargeLimits.objects.filter(property=home.property_id).first() or RechargeLimits()
    if amount_fen > limits.at_most_fen:
        most = money.shown(limits.at_most_fen)
        facts.append(
            (_("attention"), gettext("This is more than tenants may recharge at once (%(most)s).") % {"most": most})
        )
    return facts


def before_correcting(receipt: CounterReceipt) -> Facts:
    """The receipt, how its home stands, and what does not come back."""
    home = receipt.purse.tenancy
    return [
        (_("receipt number"), receipt.number),
        (_("tenancy"), receipt.purse),
        (_("amount"), money.shown(receipt.amount_fen)),
        (_("means of payment"), receipt.get_means_display()),
        (_("received from"), receipt.payer),
        (_("taken"), f"{timezone.localtime(receipt.taken_at):%Y-%m-%d %H:%M:%S}"),
        (_("taken by"), receipt.taken_by),
        *(_money_of(home) if home else ()),
        (_("what will happen"), _lines(_after_correcting(receipt))),
    ]


def holding_money(home: Tenancy) -> QuerySet[Meter]:
    """The meters of a home that hold their own money."""
    return _hanging(home).filter(model__balance_held_by=METER)


def holder_of(home: Tenancy) -> str:
    """Who pays where nobody else is named: the holder of the tenancy, blank where none has come in yet."""
    holder = next((member for member in _present(home) if member.role == Member.Role.HOLDER), None)
    return holder.called() if holder else ""


def _present(home: Tenancy) -> list[Member]:
    here = Member.objects.filter(tenancy=home, left_at__isnull=True).select_related("user", "tenancy__room__building")
    return list(here.order_by("role", "pk"))


def _hanging(home: Tenancy) -> QuerySet[Meter]:
    here = Meter.objects.filter(installations__room=home.room_id, installations__ends_at__isnull=True)
    return here.select_related("model").order_by("installations__pk")


def _money_of(home: Tenancy) -> Iterator[tuple[Text, object]]:
    """Where the home's money is: at the server, on its way, and in each meter as it last reported."""
    purse = Purse.objects.filter(tenancy=home).first() or Purse()
    yield _("balance at the server"), money.shown(purse.available_fen())
    if purse.in_transit_fen:
        yield _("on its way to a meter"), money.shown(purse.in_transit_fen)
    for meter in holding_money(home):
        yield gettext("in meter %(meter)s") % {"meter": meter}, _held_by(meter)


def _held_by(meter: Meter) -> str:
    if meter.balance_fen is None or meter.reported_at is None:
        return gettext("not reported yet")
    at = f"{timezone.localtime(meter.reported_at):%Y-%m-%d %H:%M}"
    told = (
        gettext("%(balance)s, reported %(at)s") if meter.is_online else gettext("%(balance)s, reported %(at)s; offline")
    )
    return told % {"balance": money.shown(meter.balance_fen), "at": at}


def _lines(lines: Iterator[str]) -> str:
    return format_html_join("", "<div>{}</div>", ((line,) for line in lines))


def _after_taking(home: Tenancy, amount_fen: int, chosen: Meter | None) -> Iterator[str]:
    purse = Purse.objects.filter(tenancy=home).first() or Purse()
    if purse.paid_fen < 0:
        back = money.shown(min(-purse.paid_fen, amount_fen))
        yield gettext("%(debt)s of it pays back what is owed.") % {"debt": back}
    meter = _goes_into(home, chosen)
    onward_fen = max(purse.paid_fen + amount_fen, 0)
    if meter is not None and onward_fen:
        yield from _into_meter(meter, onward_fen)
    else:
        available_fen = purse.available_fen() + amount_fen
        yield gettext("The balance at the server becomes %(balance)s.") % {"balance": money.shown(available_fen)}
        yield from _power_at(home, available_fen, purse.restore_above_fen)
    yield from _held_off(home.room)


def _goes_into(home: Tenancy, chosen: Meter | None) -> Meter | None:
    """The meter that the money goes on into, as `billing_top_up` chooses; None: it stays at the server."""
    hanging = list(_hanging(home))
    holding = [meter for meter in hanging if meter.holds_money()]
    if chosen in holding or not holding:
        return chosen if chosen in holding else None
    return holding[0] if len(holding) == len(hanging) else None


def _into_meter(meter: Meter, onward_fen: int) -> Iterator[str]:
    onward = money.shown(onward_fen)
    before = TopUp.objects.filter(meter=meter, state__in=topups.ON_THEIR_WAY)
    waiting_fen = before.aggregate(fen=Sum("amount_fen", default=0))["fen"]
    if waiting_fen:
        waiting = money.shown(waiting_fen)
        yield gettext("%(amount)s of earlier recharges goes into the meter first.") % {"amount": waiting}
    if meter.balance_fen is None:
        yield gettext("%(amount)s goes on into meter %(meter)s.") % {"amount": onward, "meter": meter}
    else:
        holds = money.shown(meter.balance_fen + waiting_fen + onward_fen)
        text = gettext("%(amount)s goes on into meter %(meter)s, which then holds about %(sum)s.")
        yield text % {"amount": onward, "meter": meter, "sum": holds}
    if not meter.is_online:
        yield gettext("The meter cannot be reached at the moment: the money goes in when it is back.")


def _power_at(home: Tenancy, available_fen: int, restore_above_fen: int) -> Iterator[str]:
    """What becomes of the power where the server decides about it."""
    off = [meter for meter in _hanging(home) if not meter.holds_money() and meter.relay in WITHOUT_POWER]
    if not off:
        return
    if available_fen <= 0 and available_fen <= restore_above_fen:
        yield gettext("That is not above zero: it does not bring the power back.")
    elif available_fen <= restore_above_fen:
        limit = money.shown(restore_above_fen)
        yield gettext("The power comes back when more than %(limit)s is there.") % {"limit": limit}
    elif all(meter.is_online for meter in off):
        yield gettext("The power comes back within seconds.")
    else:
        yield gettext("The power comes back as soon as the meter can be reached.")


def _held_off(room: Room) -> Iterator[str]:
    standing = StaffHold.objects.filter(Q(until_at__isnull=True) | Q(until_at__gt=timezone.now()), lifted_at=None)
    hold = standing.filter(room=room, position=StaffHold.Position.OPEN).first()
    if hold is not None:
        text = gettext("Staff hold the power off (%(reason)s): money alone does not bring it back.")
        yield text % {"reason": hold.reason}


def _after_correcting(receipt: CounterReceipt) -> Iterator[str]:
    amount, debt_fen = money.shown(receipt.amount_fen), counter.debt_after_correction_fen(receipt)
    yield gettext("%(amount)s is given back, and the receipt is void.") % {"amount": amount}
    if debt_fen:
        text = gettext("%(debt)s is in the meter or used and does not come back: the home then owes it.")
        yield text % {"debt": money.shown(debt_fen)}
        yield gettext("The next recharge pays that first, and the work list reminds of it.")
    home = receipt.purse.tenancy
    if home and receipt.purse.available_fen() - receipt.amount_fen <= 0 and not all(_holds_money(home)):
        yield gettext("Nothing is left then: the power may be cut, as the property's rules allow it.")


def _holds_money(home: Tenancy) -> list[bool]:
    return [meter.holds_money() for meter in _hanging(home)]
