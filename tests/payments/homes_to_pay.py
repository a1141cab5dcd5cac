"""Homes in every state that a payment may find them in, and what stands in the tables afterwards, comparable."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from django.db import connection

from billing.models import CutHold, Draw, Purse, Review, StaffHold
from meters.models import Command, Installation, Level, Meter, MeterModel
from payments.models import Attempt, Merchant, Order, Payment
from tests import makers

NOW = datetime(2026, 11, 23, 4, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=200)


@dataclass(frozen=True)
class Home:
    """One home as it is before the payment. Money in fen; relays and displays as (reported, newest command)."""

    paid_fen: int = 0
    accrued_fen: int = 0
    restore_above_fen: int = 0
    needs_review: bool = False
    has_review: bool = False
    has_account: bool = False
    hold: str = ""  # open, closed, over
    tenancy: str = "runs"  # ended, to come
    meters: tuple[str, ...] = ("server",)  # server, display, meter
    reported: str | None = "open"  # None: there is no level yet
    command: str = ""  # "<state> <value>" of the newest one
    is_online: bool = True
    order: str = "placed"
    second_attempt: bool = False
    cut_hold: bool = False


@dataclass(frozen=True)
class Paid:
    """One callback: which home's order, how much, by which transaction; `times` it comes in the same batch."""

    home: Home
    wrong_amount: bool = False
    unknown: bool = False
    known: bool = False  # its transaction is recorded already, of another order
    times: int = 1
    orders: int = 1  # of the same purse, each paid once
    channel: str = "wechat_mini"


def build(paid: Paid, merchant: Merchant) -> list[Attempt]:
    """The home with its orders. All rows are the same however it is confirmed."""
    home = paid.home
    room = makers.a_room()
    ends_at = NOW - timedelta(hours=1) if home.tenancy == "ended" else None
    starts_at = NOW + timedelta(hours=1) if home.tenancy == "to come" else LONG_AGO
    purse = makers.a_purse(tenancy=makers.a_tenancy(room=room, starts_at=starts_at, ends_at=ends_at))
    for kind in home.meters:
        _hang(kind, home, purse)
    _fill(purse, home)
    if home.hold:
        until = NOW - timedelta(minutes=1) if home.hold == "over" else None
        StaffHold.objects.create(
            room=room, property=room.property, position="open" if home.hold == "over" else home.hold, reason="leak",
            placed_at=LONG_AGO, until_at=until, placed_by=makers.a_user(),
        )  # fmt: skip
    if home.has_review:
        Review.objects.create(purse=purse, bumps=3, why="reading", asked_at=LONG_AGO)
    return [_order(purse, paid, merchant) for _ in range(paid.orders)]


def _order(purse: Purse, paid: Paid, merchant: Merchant) -> Attempt:
    order = makers.an_order(purse=purse, state=paid.home.order, paid_at=NOW if paid.home.order == "paid" else None)
    attempt = makers.an_attempt(order=order, merchant=merchant, channel=paid.channel)
    if paid.home.second_attempt:
        makers.an_attempt(order=order, merchant=makers.a_merchant(provider="alipay"), channel="alipay_wap")
    if paid.home.cut_hold:
        CutHold.objects.create(purse=purse, key=f"order:{order.pk}", reason="x", expires_at=NOW + timedelta(hours=1))
    if paid.known:
        _record_its_transaction(attempt, order)
    return attempt


def _record_its_transaction(attempt: Attempt, order: Order) -> None:
    """It is in the books already, for an order that nobody knows."""
    Payment.objects.create(
        merchant=attempt.merchant, provider_transaction=f"T{attempt.number}", number="NOBODYS",
        amount_fen=attempt.amount_fen, payer="x", paid_at=LONG_AGO, found_at=LONG_AGO, found_by="callback",
        state="suspended", suspicion="unknown_order", trace="old", property=order.property,
    )  # fmt: skip


def _hang(kind: str, home: Home, purse: Purse) -> None:
    assert purse.tenancy
    held_by = "meter" if kind == "meter" else "server"
    model, _ = MeterModel.objects.get_or_create(
        name=f"model-{kind}", defaults={"balance_held_by": held_by, "has_display": kind != "server"}
    )
    meter = makers.a_meter(place=purse.property, model=model, is_online=home.is_online, relay_generation=7)
    installation = Installation.objects.create(
        property=purse.property, room=purse.tenancy.room, meter=meter, starts_at=LONG_AGO
    )
    if home.accrued_fen and held_by == "server":
        _draw(meter, installation, purse, home)
    if home.reported is not None:
        _level(meter, "relay", home.reported, home.command)
        if kind == "display":
            _level(meter, "show", "0", home.command.replace("closed", "5000").replace("open", "0"))


def _level(meter: Meter, kind: str, reported: str, command: str) -> None:
    Level.objects.create(
        meter=meter, kind=kind, wanted=reported or "closed", reason="spent", wanted_at=LONG_AGO, trace="old",
        generation=3, reported=reported, reported_at=NOW - timedelta(minutes=5), agreed_at=LONG_AGO, tries=2,
        next_try_at=LONG_AGO,
    )  # fmt: skip
    if command:
        state, _, value = command.partition(" ")
        is_late = state == "expired"
        Command.objects.create(
            id=uuid4(), meter=meter, property=meter.property, kind=kind, value=value, generation=3, state=state,
            trace="old", queued_at=NOW + timedelta(seconds=5 if state == "queued" else -400),
            sent_at=None if state == "queued" else NOW - timedelta(seconds=300),
            expires_at=None if state == "queued" else NOW + timedelta(seconds=-100 if is_late else 20),
        )  # fmt: skip


def _fill(purse: Purse, home: Home) -> None:
    with connection.cursor() as cursor:
        cursor.execute("select set_config('meterpay.ledger', 'open', true)")
        Purse.objects.filter(pk=purse.pk).update(
            paid_fen=home.paid_fen, restore_above_fen=home.restore_above_fen, needs_review=home.needs_review,
            look_below_fen=1000,
        )  # fmt: skip
        cursor.execute("select set_config('meterpay.ledger', '', true)")
        if home.has_account:
            cursor.execute("select billing_purse_account('paid', %s)", [purse.pk])


def _draw(meter: Meter, installation: Installation, purse: Purse, home: Home) -> None:
    Draw.objects.create(
        property=purse.property, room=installation.room, installation=installation, meter=meter, purse=purse,
        tenancy=purse.tenancy, starts_at=LONG_AGO, counted_by="server", last_at=LONG_AGO, last_wh=0,
        day_date=LONG_AGO.date(), closed_until=LONG_AGO.date(), max_power_w=13_200, plain_until_at=LONG_AGO,
        total_nano=home.accrued_fen * 10**9 + 1, posted_fen=0,
    )  # fmt: skip


# Ids that a sequence gives anew are named by what they stand for.
_TABLES = {
    "payments": "select provider_transaction, merchant_id, property_id, number, attempt_id, order_id, purse_id,"
    " amount_fen, payer, paid_at, found_at, found_by, state, suspicion, refunded_fen, trace from payments_payment",
    "orders": "select * from payments_order",
    "attempts": "select * from payments_attempt",
    "events": "select * from payments_providerevent",
    "shipping": "select p.provider_transaction, s.state, s.tries, s.next_try_at, s.last_error, s.done_at"
    " from payments_shippingnotice s join payments_payment p on p.id = s.payment_id",
    "purses": "select * from billing_purse",
    "reviews": "select * from billing_review",
    "cut holds": "select * from billing_cuthold",
    "draws": "select * from billing_draw",
    "entries": "select p.provider_transaction, e.kind, e.property_id, e.happened_at, e.posted_at, e.trace, e.actor_id,"
    " e.reason, e.digest = (select md5(array_agg(t.debit_id order by t.line)::text"
    " || array_agg(t.credit_id order by t.line)::text || array_agg(t.amount_fen order by t.line)::text)"
    " from billing_transfer t where t.entry_id = e.id)"
    " from billing_journalentry e left join payments_payment p on 'payment:' || p.id = e.key",
    "transfers": "select p.provider_transaction, t.line, d.kind, d.ref, d.purse_id, c.kind, c.ref, c.purse_id,"
    " t.amount_fen from billing_transfer t join billing_journalentry e on e.id = t.entry_id"
    " left join payments_payment p on 'payment:' || p.id = e.key"
    " join billing_ledgeraccount d on d.id = t.debit_id join billing_ledgeraccount c on c.id = t.credit_id",
    "levels": "select meter_id, kind, wanted, reason, wanted_at, trace, generation, reported, reported_at, agreed_at,"
    " tries, next_try_at from meters_level",
    "commands": "select meter_id, property_id, kind, value, generation, state, trace, queued_at, sent_at, expires_at,"
    " error from meters_command",
    "top-ups": "select p.provider_transaction, u.meter_id, u.tenancy_id, u.amount_fen, u.state, u.trace, u.queued_at"
    " from meters_topup u left join payments_payment p on 'payment:' || p.id = u.key",
    "messages": "select p.provider_transaction, m.kind, m.property_id, m.tenancy_id, m.context, m.state, m.left_at"
    " from notifications_message m left join payments_payment p on 'payment:' || p.id = m.key",
    "work items": "select p.provider_transaction, w.kind, w.property_id, w.detail - 'payment', w.trace, w.state,"
    " w.times, w.raised_at from notifications_workitem w left join payments_payment p on 'payment:' || p.id = w.key",
}


def tables() -> dict[str, list[str]]:
    """Everything that a payment may write, in an order that does not depend on how it came."""
    rows = {}
    with connection.cursor() as cursor:
        for name, query in _TABLES.items():
            cursor.execute(query)
            rows[name] = sorted(map(repr, cursor.fetchall()))
    return rows
