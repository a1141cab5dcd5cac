"""Recharges from a web page: nobody has to log in to pay for a meter; WeChat's page, Alipay's page, and back again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from django.test import Client
from django.utils import timezone

from accounts.login import Person
from accounts.wechat import OfficialAccount
from billing.prepaid import purse_of
from payments import chase, checkout
from payments.models import Attempt, Order
from payments.providers.base import ProviderUnsure
from sandbox.keys import OFFICIAL_APPID
from sandbox.wechat import signed_callback
from tests import makers
from tests.payments.conftest import alipay_merchant, wechat_merchant
from tests.payments.test_chase import alipay, later, wechat  # noqa: F401 (fixtures)
from tests.racing import race

pytestmark = pytest.mark.django_db(transaction=True)
PAYER = Person("wechat", OFFICIAL_APPID, "openid-somebody", "")


@pytest.fixture
def home(world, settings):
    settings.WECHAT_OFFICIAL_APP_ID = OFFICIAL_APPID
    place = makers.a_property()
    wechat_merchant(world, place, slug="accounts", app_id=OFFICIAL_APPID)
    return makers.a_tenancy(room=makers.a_room(place=place), holder=makers.a_user())


def a_wish(tenancy, **more: Any) -> checkout.Wish:
    wish = checkout.Wish(
        user=None,
        tenancy=tenancy,
        amount_fen=5000,
        channel="wechat_h5",
        identity=None,
        meter=None,
        idempotency_key="key-of-a-page",
        request_digest="d" * 64,
    )
    return replace(wish, **more)


def place(wish: checkout.Wish) -> Order:
    return checkout.place_order(wish, trace="t" * 32, now=timezone.now())


def the_attempt(order: Order) -> Attempt:
    """The newest one."""
    return Attempt.objects.select_related("merchant", "order").filter(order=order).latest("pk")


def pay_parameters(order: Order, *, payer_ip: str = "203.0.113.7") -> dict[str, Any]:
    prepared = checkout.prepare(the_attempt(order), payer_ip=payer_ip)
    assert prepared is not None
    return prepared


def the_browser(url: str, *, action: str, referer: str = "http://127.0.0.1:8000/") -> requests.Response:
    """Opens the provider's page and presses a button; where it leads is not followed."""
    page = requests.get(url, headers={"Referer": referer} if referer else {}, timeout=10)
    if page.status_code != 200:
        return page
    return requests.post(page.url, data={"action": action}, timeout=10, allow_redirects=False)


class TestInAnotherBrowser:
    def test_wechats_page_takes_the_money_and_leads_back_to_the_recharge(self, home, wechat, settings):  # noqa: F811
        order = place(a_wish(home))

        back = the_browser(pay_parameters(order)["url"], action="pay")
        chase.ask_now(order, now=later(seconds=3))

        assert back.headers["Location"] == f"{settings.PUBLIC_URL}/r/{order.number}/"
        order.refresh_from_db()
        assert (order.user, order.state) == (None, Order.State.PAID)
        assert purse_of(home).paid_fen == 5000

    def test_its_address_is_made_anew_each_time_and_pays_once(self, home, wechat):  # noqa: F811
        order = place(a_wish(home))
        first, second = pay_parameters(order)["url"], pay_parameters(order)["url"]

        assert first != second
        assert the_browser(second, action="pay").status_code == 302
        assert the_browser(first, action="pay").status_code == 400
        chase.ask_now(order, now=later(seconds=3))
        assert purse_of(home).paid_fen == 5000

    def test_it_shows_nothing_to_a_browser_that_hides_where_it_comes_from(self, home, wechat):  # noqa: F811
        order = place(a_wish(home))

        assert the_browser(pay_parameters(order)["url"], action="pay", referer="").status_code == 400

    def test_who_goes_back_without_paying_can_call_it_off(self, home, wechat):  # noqa: F811
        order = place(a_wish(home))
        back = the_browser(pay_parameters(order)["url"], action="cancel")

        assert back.status_code == 302
        assert chase.call_off(order, now=timezone.now())
        order.refresh_from_db()
        assert order.state == Order.State.CLOSED

    def test_who_changes_the_network_pays_with_another_number_and_the_old_address_is_dead(self, home, wechat):  # noqa: F811
        order = place(a_wish(home))
        at_home = pay_parameters(order)["url"]

        on_the_way = pay_parameters(order, payer_ip="198.51.100.9")["url"]

        assert [one.state for one in order.attempts.order_by("pk")] == ["closed", "ready"]
        assert the_browser(at_home, action="pay").status_code == 400
        assert the_browser(on_the_way, action="pay").status_code == 302
        chase.ask_now(order, now=later(seconds=3))
        assert purse_of(home).paid_fen == 5000

    def test_who_has_paid_is_not_led_to_pay_again_from_another_network(self, home, wechat):  # noqa: F811
        order = place(a_wish(home))
        the_browser(pay_parameters(order)["url"], action="pay")

        with pytest.raises(ProviderUnsure):
            pay_parameters(order, payer_ip="198.51.100.9")

        assert order.attempts.count() == 1
        chase.ask_now(order, now=later(seconds=3))
        assert purse_of(home).paid_fen == 5000

    def test_who_has_paid_a_moment_ago_is_not_told_that_it_was_refused(self, home, wechat):  # noqa: F811
        order = place(a_wish(home))
        the_browser(pay_parameters(order)["url"], action="pay")

        assert checkout.prepare(the_attempt(order), payer_ip="203.0.113.7") is None
        assert the_attempt(order).last_error == ""

    def test_phones_that_open_one_recharge_at_once_leave_one_open_number(self, home, wechat):  # noqa: F811
        order = place(a_wish(home))
        pay_parameters(order)

        race([lambda n=n: pay_parameters(order, payer_ip=f"198.51.100.{n}") for n in range(5)])

        open_ones = order.attempts.filter(state__in=checkout.OPEN)
        assert open_ones.count() == 1
        assert {wechat.look(f"trades/{one.number}")["state"] for one in order.attempts.filter(state="closed")} == {
            "CLOSED"
        }
        order.refresh_from_db()
        assert order.state == Order.State.PLACED

    def test_alipays_page_leads_back_to_the_recharge_too(self, home, world, alipay, settings):  # noqa: F811
        alipay_merchant(world, home.property)
        order = place(a_wish(home, channel="alipay_wap"))

        back = the_browser(pay_parameters(order)["url"], action="pay")
        chase.ask_now(order, now=later(seconds=3))

        assert back.headers["Location"].startswith(f"{settings.PUBLIC_URL}/r/{order.number}/?")
        assert purse_of(home).paid_fen == 5000


class TestInWeChat:
    def test_the_account_learns_who_came_and_they_pay(self, home, wechat, world):  # noqa: F811
        secret = world.app_secrets[OFFICIAL_APPID]
        account = OfficialAccount(OFFICIAL_APPID, secret, tokens=_NoTokens(), base_url=wechat.url, timeout_s=5)
        sent_to = account.authorize_url(oauth_url=wechat.url, redirect_uri="http://127.0.0.1:8000/wechat/", state="s1")
        came_back = requests.get(sent_to, timeout=10, allow_redirects=False).headers["Location"]
        query = parse_qs(urlsplit(came_back).query)

        who = account.who_came(query["code"][0])
        order = place(a_wish(home, channel="wechat_jsapi", identity=Person("wechat", OFFICIAL_APPID, who.openid, "")))
        handed = pay_parameters(order)
        paid = wechat.do("request_payment", **handed, openid=who.openid)
        chase.ask_now(order, now=later(seconds=3))

        assert query["state"] == ["s1"]
        assert handed["appId"] == OFFICIAL_APPID
        assert paid["errMsg"] == "requestPayment:ok"
        assert purse_of(home).paid_fen == 5000

    @pytest.mark.parametrize("app_id", ["wxsandbox000000001", "wx0000000000000000"])
    def test_who_is_known_to_another_app_cannot_pay_this_way(self, home, app_id):
        with pytest.raises(checkout.CheckoutRefused) as refused:
            place(a_wish(home, channel="wechat_jsapi", identity=Person("wechat", app_id, "o", "")))

        assert refused.value.code == "wrong_app"
        assert not Order.objects.exists()


class TestPlacing:
    def test_two_taps_at_once_without_a_login_are_one_order(self, home):
        orders = race([lambda: place(a_wish(home))] * 6)

        assert len({order.pk for order in orders}) == 1
        assert Attempt.objects.count() == 1

    def test_the_same_key_of_another_home_is_another_order(self, home):
        other = makers.a_tenancy(room=makers.a_room(place=home.property))

        first, second = place(a_wish(home)), place(a_wish(other))

        assert first.pk != second.pk

    def test_the_same_key_with_another_amount_is_refused(self, home):
        place(a_wish(home))

        with pytest.raises(checkout.KeyUsedOtherwise):
            place(a_wish(home, amount_fen=6000, request_digest="e" * 64))

    def test_a_callback_that_comes_while_the_same_form_is_sent_again_credits_once(self, home, wechat, world):  # noqa: F811
        order = place(a_wish(home))
        pay_parameters(order)
        attempt = the_attempt(order)
        headers, body = signed_callback(
            world,
            out_trade_no=attempt.number,
            amount_fen=5000,
            resource={"appid": attempt.app_id, "trade_type": "MWEB"},
        )

        def called_back() -> int:
            path = f"/payments/notify/wechat/{attempt.merchant.slug}/"
            answer = Client(headers=headers).post(path, body, content_type="application/json")
            return answer.status_code

        told = race([called_back, lambda: place(a_wish(home)), lambda: pay_parameters(order)] * 3)

        assert {one for one in told if isinstance(one, int)} == {204}
        assert {one.pk for one in told if isinstance(one, Order)} == {order.pk}
        assert purse_of(home).paid_fen == 5000

    def test_a_payment_that_comes_while_the_address_is_asked_for_again_credits_once(self, home, wechat):  # noqa: F811
        order = place(a_wish(home))
        pay_parameters(order)
        number = the_attempt(order).number
        wechat.do(f"trades/{number}/pay", notify=False)

        race([lambda: chase.ask_now(order, now=later(seconds=3)), lambda: pay_parameters(order)] * 3)
        chase.ask_now(order, now=later(seconds=6))

        assert purse_of(home).paid_fen == 5000


class _NoTokens:
    """Logging in on a page needs no token of the app."""

    def get(self, key: str) -> Any:
        raise AssertionError(key)

    set = add = get


class TestSeenByOthers:
    def test_those_who_live_there_find_it_among_their_recharges_and_cannot_call_off_what_is_not_theirs(
        self, home, client
    ):
        order = place(a_wish(home))
        holder = makers.a_login(home.members.get().user)

        (listed,) = client.get("/api/v1/recharges", headers=holder).json()["recharges"]
        cancelled = client.post(f"/api/v1/recharges/{order.number}/cancel", headers=holder)

        assert (listed["number"], listed["by_me"]) == (order.number, False)
        assert cancelled.status_code == 404

    def test_staff_read_that_nobody_was_logged_in(self, home, admin_client):
        order = place(a_wish(home))

        page = admin_client.get(f"/admin/payments/order/{order.pk}/change/", headers={"Accept-Language": "en"})
        listed = admin_client.get("/admin/payments/order/", headers={"Accept-Language": "en"})

        assert b"placed without a login" in page.content
        assert order.number in listed.content.decode()
