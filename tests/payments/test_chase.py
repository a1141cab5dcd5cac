"""Asking about attempts nobody called back about, and closing what ran out; against the vendors in their box."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import requests
from django.utils import timezone

from billing.models import CutHold
from payments import chase, checkout, inbox, keyring, merchants, shipping
from payments.models import Attempt, Order, Payment, ProviderEvent, ProviderKey, ShippingNotice
from sandbox.alipay import Alipay
from sandbox.server import running
from sandbox.wechat import WeChat, signed_callback
from tests import makers
from tests.payments.conftest import alipay_merchant, wechat_merchant

pytestmark = pytest.mark.django_db(transaction=True)


class Box:
    """A vendor's sandbox and its control API."""

    def __init__(self, url: str) -> None:
        self.url = url

    def do(self, path: str, **body: Any) -> Any:
        answer = requests.post(f"{self.url}/sandbox/{path}", json=body, timeout=10)
        assert answer.ok, answer.text
        return answer.json()

    def look(self, path: str) -> Any:
        return requests.get(f"{self.url}/sandbox/{path}", timeout=10).json()


@pytest.fixture
def wechat(world, settings):
    with running(WeChat(world, speed=1000)) as url:
        settings.WECHAT_PAY_URL = settings.WECHAT_API_URL = url
        yield Box(url)


@pytest.fixture
def alipay(world, settings):
    with running(Alipay(world, speed=1000)) as url:
        settings.ALIPAY_GATEWAY_URL = f"{url}/gateway.do"
        yield Box(url)


@pytest.fixture
def purse():
    room = makers.a_room()
    makers.a_meter(room=room, is_online=True)
    return makers.a_purse(tenancy=makers.a_tenancy(room=room))


def a_wechat_attempt(world, wechat, purse, **kwargs: Any) -> Attempt:
    """Prepared at WeChat, ready to be paid, its callbacks silenced: only asking finds out."""
    wechat.do("faults", callbacks="never")
    openid = wechat.do("login_code")["openid"]
    merchant = wechat_merchant(world, purse.property)
    attempt = makers.an_attempt(
        order=makers.an_order(purse=purse), merchant=merchant, state="made", payer=openid, **kwargs
    )
    checkout.prepare(attempt)
    attempt.refresh_from_db()
    return attempt


def an_alipay_attempt(world, alipay, purse, **kwargs: Any) -> Attempt:
    alipay.do("faults", callbacks="never")
    open_id = alipay.do("login_code")["open_id"]
    merchant = alipay_merchant(world, purse.property)
    attempt = makers.an_attempt(
        order=makers.an_order(purse=purse), merchant=merchant, state="made", payer=open_id, **kwargs
    )
    checkout.prepare(attempt)
    attempt.refresh_from_db()
    return attempt


def later(**kwargs: Any) -> Any:
    return timezone.now() + timedelta(**kwargs)


class TestAsking:
    def test_it_finds_a_payment_nobody_called_back_about(self, world, wechat, purse):
        attempt = a_wechat_attempt(world, wechat, purse)
        wechat.do(f"trades/{attempt.number}/pay")

        assert chase.ask_about_due(now=later(seconds=6)) == 1

        purse.refresh_from_db()
        assert purse.paid_fen == 5000
        assert Payment.objects.get().found_by == "query"

    def test_it_finds_one_at_alipay(self, world, alipay, purse):
        attempt = an_alipay_attempt(world, alipay, purse)
        alipay.do(f"trades/{attempt.number}/pay")

        chase.ask_about_due(now=later(seconds=6))

        purse.refresh_from_db()
        assert purse.paid_fen == 5000

    def test_it_follows_the_vendors_schedule(self, world, wechat, purse):
        attempt = a_wechat_attempt(world, wechat, purse)
        turns = []
        now = attempt.made_at
        for _each in range(5):
            now = Attempt.objects.get().next_ask_at
            chase.ask_about_due(now=now)
            turns.append(round((now - attempt.made_at).total_seconds()))

        assert turns == [5, 30, 60, 180, 300]

    def test_unpaid_is_not_failed(self, world, wechat, purse):
        attempt = a_wechat_attempt(world, wechat, purse)

        chase.ask_about_due(now=later(minutes=10))

        attempt.refresh_from_db()
        assert (attempt.state, attempt.order.state) == ("ready", "placed")

    def test_a_tenant_who_looks_makes_it_ask_at_most_every_other_second(self, world, wechat, purse):
        attempt = a_wechat_attempt(world, wechat, purse)
        now = later(seconds=3)

        for ms in (0, 100, 200, 1900):
            chase.ask_now(attempt.order, now=now + timedelta(milliseconds=ms))

        assert len(wechat.look("requests?path=out-trade-no")["requests"]) == 1

    def test_a_provider_that_cannot_say_keeps_the_power_on_meanwhile(self, world, wechat, purse):
        a_wechat_attempt(world, wechat, purse)
        wechat.do("faults", answers=[{"match": "out-trade-no", "times": 5, "status": 500, "code": "SYSTEM_ERROR"}])

        chase.ask_about_due(now=later(seconds=6))

        assert CutHold.objects.get().purse_id == purse.pk
        assert Attempt.objects.get().state == "ready"


class TestClosing:
    def test_it_closes_at_the_provider_before_it_closes_here(self, world, wechat, purse):
        attempt = a_wechat_attempt(world, wechat, purse)

        chase.ask_about_due(now=later(seconds=2000))

        attempt.refresh_from_db()
        assert (attempt.state, attempt.order.state) == ("closed", "closed")
        assert wechat.look(f"trades/{attempt.number}")["state"] == "CLOSED"

    def test_it_leaves_open_what_the_provider_will_not_close(self, world, wechat, purse):
        attempt = a_wechat_attempt(world, wechat, purse)
        wechat.do("faults", answers=[{"match": "/close", "times": 5, "status": 500, "code": "SYSTEM_ERROR"}])

        chase.ask_about_due(now=later(seconds=2000))

        attempt.refresh_from_db()
        assert (attempt.state, attempt.order.state) == ("ready", "placed")

    def test_a_payment_in_the_last_moment_wins_over_closing(self, world, wechat, purse):
        attempt = a_wechat_attempt(world, wechat, purse)
        wechat.do(f"trades/{attempt.number}/pay")

        assert chase.call_off(attempt.order, now=later(seconds=3))

        assert Order.objects.get().state == "paid"

    def test_calling_off_closes_both_sides(self, world, wechat, purse):
        attempt = a_wechat_attempt(world, wechat, purse)

        assert chase.call_off(attempt.order, now=later(seconds=1))

        assert Order.objects.get().state == "closed"
        assert wechat.look(f"trades/{attempt.number}")["state"] == "CLOSED"

    def test_a_second_attempt_is_closed_once_the_first_is_paid(self, world, wechat, alipay, purse):
        first = a_wechat_attempt(world, wechat, purse)
        merchant = alipay_merchant(world, purse.property)
        second = makers.an_attempt(
            order=first.order, merchant=merchant, state="made", payer=alipay.do("login_code")["open_id"]
        )
        checkout.prepare(second)
        wechat.do(f"trades/{first.number}/pay")
        chase.ask_about_due(now=later(seconds=6))

        chase.ask_about_due(now=later(seconds=7))

        second.refresh_from_db()
        assert second.state == "closed"
        assert alipay.look(f"trades/{second.number}")["state"] == "TRADE_CLOSED"

    def test_a_page_to_pay_on_is_asked_about_until_it_runs_out(self, world, alipay, purse):
        merchant = alipay_merchant(world, purse.property)
        attempt = makers.an_attempt(
            order=makers.an_order(purse=purse), merchant=merchant, state="made", channel="alipay_wap", payer=""
        )
        handed_out = checkout.prepare(attempt)

        assert chase.call_off(attempt.order, now=later(seconds=3))
        attempt.refresh_from_db()
        assert handed_out
        assert handed_out["url"].startswith(alipay.url)
        assert (attempt.state, attempt.order.state) == ("made", "closed")

        chase.ask_about_due(now=later(seconds=2000))
        attempt.refresh_from_db()
        assert attempt.state == "closed"


class TestBeforeTheCreateCallReturns:
    def test_a_callback_that_is_faster_than_our_own_call_credits(self, world, wechat, purse, live_server, settings):
        settings.PUBLIC_URL = live_server.url
        wechat.do("faults", pay_before_answer=True)
        openid = wechat.do("login_code")["openid"]
        merchant = wechat_merchant(world, purse.property)
        attempt = makers.an_attempt(order=makers.an_order(purse=purse), merchant=merchant, state="made", payer=openid)

        checkout.prepare(attempt)

        attempt.refresh_from_db()
        purse.refresh_from_db()
        assert (attempt.state, purse.paid_fen) == ("paid", 5000)


class TestShipping:
    def test_it_tells_wechat_once_what_was_delivered(self, world, wechat, purse, settings):
        facts = world.info["wechat"]
        settings.WECHAT_MINI_APP_ID = facts["direct"]["appid"]
        settings.WECHAT_MINI_SECRET_REF = f"file:{facts['apps'][facts['direct']['appid']]['secret_file']}"
        attempt = a_wechat_attempt(world, wechat, purse)
        wechat.do(f"trades/{attempt.number}/pay")
        chase.ask_about_due(now=later(seconds=6))

        assert shipping.upload_due(now=later(seconds=7)) == 1

        assert ShippingNotice.objects.get().state == "done"
        assert shipping.upload_due(now=later(hours=1)) == 0
        assert wechat.look(f"trades/{attempt.number}")["money"] == "shipped"

    def test_it_tries_again_when_wechat_does_not_know_the_order_yet(self, world, wechat, purse, settings):
        facts = world.info["wechat"]
        settings.WECHAT_MINI_APP_ID = facts["direct"]["appid"]
        settings.WECHAT_MINI_SECRET_REF = f"file:{facts['apps'][facts['direct']['appid']]['secret_file']}"
        attempt = a_wechat_attempt(world, wechat, purse)
        wechat.do(f"trades/{attempt.number}/pay")
        chase.ask_about_due(now=later(seconds=6))
        wechat.do("faults", answers=[{"match": "upload_shipping_info", "times": 1, "code": "10060001"}])

        shipping.upload_due(now=later(seconds=7))
        waiting = ShippingNotice.objects.get()
        shipping.upload_due(now=later(minutes=2))

        assert (waiting.state, waiting.last_error[:8]) == ("waiting", "10060001")
        assert ShippingNotice.objects.get().state == "done"


class TestLeftLying:
    def test_an_event_stored_by_a_process_that_died_is_taken_up(self, world, purse):
        from payments import evidence
        from payments.providers import wechat

        merchant = wechat_merchant(world, purse.property)
        attempt = makers.an_attempt(order=makers.an_order(purse=purse), merchant=merchant)
        headers, body = signed_callback(world, out_trade_no=attempt.number, amount_fen=5000)
        now = timezone.now()
        receipt = wechat.read_callback(headers, body, keys=merchants.snapshot(merchant).keys, now=now)
        evidence.store(
            [evidence.Arrival(merchant_id=merchant.pk, receipt=receipt, body=body, headers=headers, trace="t", at=now)]
        )

        inbox.sweep(now=now + timedelta(seconds=11))

        purse.refresh_from_db()
        assert purse.paid_fen == 5000
        assert ProviderEvent.objects.get().state == "done"


class TestCertificates:
    def test_it_fetches_the_next_platform_certificate_before_it_is_needed(self, world, wechat, purse):
        merchant = wechat_merchant(world, purse.property, key_mode="certificate")

        keyring.refresh(now=timezone.now())

        serials = set(
            ProviderKey.objects.filter(merchant=merchant, kind="certificate").values_list("serial", flat=True)
        )
        assert {one["serial"] for one in world.info["wechat"]["platform"]} <= serials
