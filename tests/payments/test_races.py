"""The same money from many sides at the same instant, over real HTTP on real threads: one credit, whoever wins."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import requests
from django.db import connection
from django.utils import timezone

from billing import supply
from billing.models import CutHold, JournalEntry
from meters.models import Command, TopUp
from payments import inbox
from payments.confirm import confirm_payment
from payments.models import Order, Payment, ProviderEvent
from payments.providers.base import PAID, PAYMENT, Receipt
from sandbox.alipay import signed_notify
from sandbox.wechat import signed_callback
from tests import makers
from tests.payments.conftest import alipay_merchant, wechat_merchant

pytestmark = pytest.mark.django_db(transaction=True)


def at_once(jobs: Iterable[Callable[[], Any]]) -> list[Any]:
    """Runs the jobs from as many threads, all let go at the same instant."""
    jobs = list(jobs)
    gate = threading.Barrier(len(jobs))

    def run(job: Callable[[], Any]) -> Any:
        gate.wait()
        try:
            return job()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(run, jobs))


@pytest.fixture
def home():
    room = makers.a_room()
    makers.a_meter(room=room, held_by="meter", is_online=True)
    return makers.a_purse(tenancy=makers.a_tenancy(room=room))


def send(live_server, merchant, headers: dict[str, str], body: bytes) -> requests.Response:
    url = f"{live_server.url}/payments/notify/{merchant.provider}/{merchant.slug}/"
    with requests.Session() as http:
        return http.post(url, data=body, headers=headers, timeout=60)


def receipt_of(attempt, transaction: str) -> Receipt:
    return Receipt(
        provider=attempt.merchant.provider,
        kind=PAYMENT,
        trade_state=PAID,
        attempt_number=attempt.number,
        provider_transaction=transaction,
        amount_fen=attempt.amount_fen,
        paid_at=timezone.now(),
    )


def test_fifty_times_the_same_callback_at_once_is_one_credit_and_one_top_up(world, home, live_server):
    merchant = wechat_merchant(world, home.property)
    attempt = makers.an_attempt(order=makers.an_order(purse=home), merchant=merchant)
    headers, body = signed_callback(world, out_trade_no=attempt.number, amount_fen=5000)

    answers = at_once([lambda: send(live_server, merchant, headers, body).status_code] * 50)

    assert answers == [204] * 50
    home.refresh_from_db()
    assert (home.paid_fen, home.in_transit_fen) == (0, 5000)
    assert TopUp.objects.count() == JournalEntry.objects.count() == Payment.objects.count() == 1
    assert ProviderEvent.objects.get().times == 50


def test_callback_query_and_a_second_attempt_racing_credit_once(world, home, live_server):
    order = makers.an_order(purse=home)
    wechat, alipay = wechat_merchant(world, home.property), alipay_merchant(world, home.property)
    first = makers.an_attempt(order=order, merchant=wechat)
    second = makers.an_attempt(order=order, merchant=alipay)
    callback = signed_callback(world, out_trade_no=first.number, amount_fen=5000, transaction_id="T1")
    notify = signed_notify(world, out_trade_no=second.number, amount_fen=5000, trade_no="T2")

    at_once(
        [lambda: send(live_server, wechat, *callback)] * 5
        + [lambda: send(live_server, alipay, *notify)] * 5
        + [lambda: found_by_query(receipt_of(first, "T1"), wechat)] * 5
    )

    home.refresh_from_db()
    assert home.in_transit_fen == 5000
    assert sorted(Payment.objects.values_list("state", "suspicion")) == [("credited", ""), ("suspended", "surplus")]
    assert TopUp.objects.count() == 1
    assert Order.objects.get().state == "paid"


def found_by_query(receipt: Receipt, merchant) -> None:
    confirm_payment(
        receipt, merchant_id=merchant.pk, found_by="query", event_id=None, trace="query", now=timezone.now()
    )


def test_a_payment_for_an_unknown_order_is_suspended_once(world, home, live_server):
    merchant = wechat_merchant(world, home.property)
    headers, body = signed_callback(world, out_trade_no="ANOTHERSYSTEMSNUMBER", amount_fen=5000)

    answers = at_once([lambda: send(live_server, merchant, headers, body).status_code] * 20)

    assert answers == [204] * 20
    assert Payment.objects.get().suspicion == "unknown_order"
    assert JournalEntry.objects.count() == 1


def test_many_orders_of_one_home_at_once_are_all_credited(world, home):
    merchant = wechat_merchant(world, home.property)
    attempts = [
        makers.an_attempt(order=makers.an_order(purse=home, amount_fen=100 * n), merchant=merchant)
        for n in range(1, 21)
    ]

    at_once([lambda a=a: found_by_query(receipt_of(a, f"T{a.pk}"), merchant) for a in attempts])

    home.refresh_from_db()
    assert home.in_transit_fen == sum(a.amount_fen for a in attempts)
    assert TopUp.objects.count() == 20


def test_closing_an_order_and_paying_it_at_once_never_loses_the_payment(world, home):
    from payments import chase

    merchant = wechat_merchant(world, home.property)
    for n in range(10):
        order = makers.an_order(purse=home)
        attempt = makers.an_attempt(order=order, merchant=merchant)

        at_once(
            [
                lambda o=order: chase.close_order(order_id=o.pk, now=timezone.now()),
                lambda a=attempt, n=n: found_by_query(receipt_of(a, f"T{n}"), merchant),
            ]
        )

        order.refresh_from_db()
        assert order.state == "paid"
    home.refresh_from_db()
    assert home.in_transit_fen == 10 * 5000


def test_confirming_and_finding_out_at_once_never_deadlock(world, home):
    merchant = wechat_merchant(world, home.property)
    for n in range(15):
        attempt = makers.an_attempt(order=makers.an_order(purse=home), merchant=merchant)

        at_once(
            [
                lambda a=attempt: inbox.keep_power_on_for(a.number, merchant_id=merchant.pk, now=timezone.now()),
                lambda a=attempt, n=n: found_by_query(receipt_of(a, f"T{n}"), merchant),
                lambda: supply.recheck(now=timezone.now() + timedelta(hours=1)),
            ]
        )

    home.refresh_from_db()
    assert home.in_transit_fen == 15 * 5000


def test_nobody_finds_out_about_what_is_paid(world, home):
    attempt = makers.an_attempt(order=makers.an_order(purse=home), merchant=wechat_merchant(world, home.property))
    found_by_query(receipt_of(attempt, "T1"), attempt.merchant)

    inbox.keep_power_on_for(attempt.number, merchant_id=attempt.merchant_id, now=timezone.now())

    assert not CutHold.objects.exists()


def test_a_server_held_home_gets_one_close_command(world):
    room = makers.a_room()
    meter = makers.a_meter(room=room, is_online=True, relay="open")
    purse = makers.a_purse(tenancy=makers.a_tenancy(room=room))
    merchant = wechat_merchant(world, purse.property)
    attempts = [makers.an_attempt(order=makers.an_order(purse=purse), merchant=merchant) for _each in range(10)]

    at_once([lambda a=a: found_by_query(receipt_of(a, f"T{a.pk}"), merchant) for a in attempts])

    assert Command.objects.filter(meter=meter, kind="relay", state="queued").count() == 1
    shown = Command.objects.get(meter=meter, kind="show", state="queued")
    assert shown.value == "50000"
