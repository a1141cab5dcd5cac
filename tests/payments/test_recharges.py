"""The tenant's recharges: placed once per key, limited, their own alone; against the vendors in their box."""

from __future__ import annotations

import json

import pytest
from django.test import Client
from django.utils import timezone

from accounts import consents
from accounts.login import Person, sign_in
from accounts.models import Member
from payments.models import Attempt, Merchant, Order, RechargeLimits
from tests import makers
from tests.payments.conftest import alipay_merchant, wechat_merchant
from tests.payments.test_chase import alipay, wechat  # noqa: F401 (fixtures)
from tests.payments.test_races import at_once

pytestmark = pytest.mark.django_db(transaction=True)


class Tenant:
    """A person logged in with one app, and what they send."""

    def __init__(self, provider: str, app_id: str, subject: str) -> None:
        signed_in = sign_in(Person(provider, app_id, subject, ""), now=timezone.now())
        self.user = signed_in.user
        consents.give(user=self.user, version=consents.CURRENT, came_through="api", now=timezone.now())
        self.headers = {"HTTP_AUTHORIZATION": f"Bearer {signed_in.token}", "HTTP_ACCEPT_LANGUAGE": "en"}

    def post(self, path, body=None, **headers):
        return Client().post(
            f"/api/v1/{path}", data=json.dumps(body or {}), content_type="application/json", **self.headers | headers
        )

    def get(self, path):
        return Client().get(f"/api/v1/{path}", **self.headers)

    def recharge(self, home, amount="50.00", *, key="key-00001", **body):
        return self.post(
            "recharges", {"home": home, "amount": amount, "channel": "wechat_mini"} | body, HTTP_IDEMPOTENCY_KEY=key
        )


@pytest.fixture
def place():
    return makers.a_property()


@pytest.fixture
def tenant(world, wechat, place):  # noqa: F811
    """A tenant of a home at `place`, logged in with the mini-program that the merchant of `place` serves."""
    merchant = wechat_merchant(world, place)
    who = Tenant("wechat", merchant.app_id, wechat.do("login_code", openid="openid-tenant")["openid"])
    who.home = makers.a_tenancy(room=makers.a_room(place=place), holder=who.user)
    return who


def code_of(response):
    return response.json()["code"]


class TestPlacing:
    def test_it_hands_the_client_what_it_needs_to_pay(self, tenant):
        response = tenant.recharge(tenant.home.pk)

        assert response.status_code == 201, response.content
        answer = response.json()
        assert (answer["state"], answer["amount"]) == ("placed", "50.00")
        assert set(answer["pay"]) >= {"timeStamp", "nonceStr", "package", "signType", "paySign"}
        assert Attempt.objects.get().state == "ready"

    def test_the_same_key_and_body_give_the_same_order(self, tenant):
        first, second = (tenant.recharge(tenant.home.pk).json() for _each in range(2))

        assert first["number"] == second["number"]
        assert Order.objects.count() == Attempt.objects.count() == 1
        assert second["pay"]

    def test_the_same_key_and_another_body_is_a_conflict(self, tenant):
        tenant.recharge(tenant.home.pk)

        response = tenant.recharge(tenant.home.pk, "60.00")

        assert (response.status_code, code_of(response)) == (409, "idempotency_key_reused")
        assert Order.objects.get().amount_fen == 5000

    def test_twenty_times_the_same_key_at_once_is_one_order(self, tenant):
        answers = at_once([lambda: tenant.recharge(tenant.home.pk)] * 20)

        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.json()["number"] for answer in answers}) == 1
        assert Order.objects.count() == Attempt.objects.count() == 1

    @pytest.mark.parametrize("key", ["", "short", "x" * 65, "mit leerzeichen", "schlüssel-1"])
    def test_it_wants_a_proper_key(self, tenant, key):
        response = tenant.recharge(tenant.home.pk, key=key)

        assert response.status_code == 400
        assert not Order.objects.exists()

    @pytest.mark.parametrize("amount", ["0", "0.00", "-1", "1.001", "1e3", "١٢", "NaN", "abc", "", "50,00", "1" * 13])
    def test_it_refuses_what_is_no_amount(self, tenant, amount):
        response = tenant.recharge(tenant.home.pk, amount)

        assert response.status_code == 400, response.content
        assert not Order.objects.exists()

    @pytest.mark.parametrize(("amount", "status"), [("9.99", 400), ("10", 201), ("100.00", 201), ("100.01", 400)])
    def test_it_keeps_the_limits_of_the_property(self, tenant, place, amount, status):
        RechargeLimits.objects.create(property=place, at_least_fen=1000, at_most_fen=10000)

        response = tenant.recharge(tenant.home.pk, amount)

        assert response.status_code == status
        if status == 400:
            assert code_of(response) == "amount_out_of_limits"
            assert "10.00" in response.json()["detail"]

    def test_it_refuses_a_channel_that_nobody_serves(self, tenant, place):
        Merchant.objects.update(retired_at=timezone.now())

        response = tenant.recharge(tenant.home.pk)

        assert (response.status_code, code_of(response)) == (400, "channel_not_offered")
        assert not Order.objects.exists()

    def test_it_refuses_to_pay_with_an_app_one_is_not_logged_in_with(self, world, tenant, place):
        alipay_merchant(world, place)

        response = tenant.recharge(tenant.home.pk, channel="alipay_mini")

        assert (response.status_code, code_of(response)) == (400, "wrong_app")

    def test_a_provider_that_does_not_answer_is_a_503_and_the_same_key_tries_again(self, tenant, wechat):  # noqa: F811
        wechat.do("faults", answers=[{"match": "jsapi", "times": 1, "status": 500, "code": "SYSTEM_ERROR"}])

        first = tenant.recharge(tenant.home.pk)
        second = tenant.recharge(tenant.home.pk)

        assert (first.status_code, code_of(first)) == (503, "provider_away")
        assert second.status_code == 201
        assert Attempt.objects.count() == 1

    def test_alipay_gives_a_trade_number_or_a_page(self, world, alipay, place):  # noqa: F811
        merchant = alipay_merchant(world, place)
        who = Tenant("alipay", merchant.app_id, alipay.do("login_code")["open_id"])
        home = makers.a_tenancy(room=makers.a_room(place=place), holder=who.user)

        mini = who.recharge(home.pk, channel="alipay_mini", key="key-mini-1").json()
        page = who.recharge(home.pk, channel="alipay_wap", key="key-page-1").json()

        assert mini["pay"]["tradeNO"]
        assert page["pay"]["url"].startswith(alipay.url)


class TestLooking:
    def test_it_tells_how_the_recharge_stands(self, tenant, wechat):  # noqa: F811
        number = tenant.recharge(tenant.home.pk).json()["number"]
        wechat.do("faults", callbacks="never")
        wechat.do(f"trades/{Attempt.objects.get().number}/pay")
        Attempt.objects.update(made_at=timezone.now() - timezone.timedelta(seconds=3))

        response = tenant.get(f"recharges/{number}")

        assert (response.status_code, response.json()["state"]) == (200, "paid")

    def test_a_stranger_finds_nothing(self, world, tenant):
        number = tenant.recharge(tenant.home.pk).json()["number"]
        stranger = Tenant("wechat", "wxsandboxmini", "openid-stranger")

        assert stranger.get(f"recharges/{number}").status_code == 404
        assert stranger.post(f"recharges/{number}/cancel").status_code == 404
        assert stranger.recharge(tenant.home.pk, key="key-00002").status_code == 404
        assert Order.objects.get().state == "placed"

    def test_who_has_left_cannot_recharge(self, tenant):
        Member.objects.update(left_at=timezone.now())

        assert tenant.recharge(tenant.home.pk).status_code == 404

    def test_without_a_token_there_is_nothing(self):
        assert Client().post("/api/v1/recharges").status_code == 401


class TestCallingOff:
    def test_it_closes_at_the_provider_and_here(self, tenant, wechat):  # noqa: F811
        number = tenant.recharge(tenant.home.pk).json()["number"]

        response = tenant.post(f"recharges/{number}/cancel")

        assert (response.status_code, response.json()["state"]) == (200, "closed")
        assert wechat.look(f"trades/{Attempt.objects.get().number}")["state"] == "CLOSED"

    def test_a_provider_that_does_not_answer_leaves_it_open(self, tenant, wechat):  # noqa: F811
        number = tenant.recharge(tenant.home.pk).json()["number"]
        wechat.do("faults", answers=[{"match": "/close", "times": 9, "status": 500, "code": "SYSTEM_ERROR"}])

        response = tenant.post(f"recharges/{number}/cancel")

        assert (response.status_code, code_of(response)) == (503, "provider_away")
        assert Order.objects.get().state == "placed"
