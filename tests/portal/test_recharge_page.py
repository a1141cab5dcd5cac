"""The page of a recharge: who looks at it disturbs nobody, who goes on is led to the provider's page and back."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from billing.prepaid import purse_of
from payments.models import Attempt, Order
from portal import paying
from portal.pages import visitor
from sandbox.keys import OFFICIAL_APPID
from tests import makers
from tests.payments.conftest import _keys_are_read_afresh, alipay_merchant, wechat_merchant, world  # noqa: F401 (fixtures)
from tests.payments.test_chase import alipay, wechat  # noqa: F401 (fixtures)
from tests.payments.test_from_a_web_page import a_wish, place, the_browser

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def home(world, settings):  # noqa: F811
    settings.WECHAT_OFFICIAL_APP_ID = OFFICIAL_APPID
    property_ = makers.a_property()
    wechat_merchant(world, property_, slug="accounts", app_id=OFFICIAL_APPID)
    alipay_merchant(world, property_, slug="ali")
    room = makers.a_room(place=property_)
    makers.a_meter(room=room, is_online=True, relay="closed")
    return makers.a_tenancy(room=room, holder=makers.a_user())


def look(order: Order, part: str = "", **headers: str) -> Any:
    return Client(headers={"Accept-Language": "en"} | headers).get(f"/r/{order.number}/{part}")


def test_who_looks_at_it_asks_wechat_for_nothing(home, wechat):  # noqa: F811
    order = place(a_wish(home))

    page = look(order).content.decode()

    assert f'href="/r/{order.number}/pay/"' in page
    assert "Go and pay" in page
    assert Attempt.objects.get().state == "made"
    assert wechat.look("requests?path=/v3/")["requests"] == []


@pytest.mark.parametrize("channel", ["wechat_h5", "alipay_wap"])
def test_the_link_leads_to_the_providers_page_and_from_there_back_to_the_light(home, wechat, alipay, channel):  # noqa: F811
    order = place(a_wish(home, channel=channel))

    led = look(order, "pay/")
    back = the_browser(led.headers["Location"], action="pay")
    Attempt.objects.update(asked_at=timezone.now() - timedelta(seconds=3), made_at=makers.LONG_AGO)
    stages = look(order, "stages/")

    assert "no-store" in led.headers["Cache-Control"]
    assert f"/r/{order.number}/" in back.headers["Location"]
    assert b"the recharge has arrived" in stages.content
    assert purse_of(home).paid_fen == 5000


def test_whoever_looks_meanwhile_from_elsewhere_takes_nothing_away(home, wechat):  # noqa: F811
    order = place(a_wish(home))
    address = look(order, "pay/").headers["Location"]

    Client(REMOTE_ADDR="198.51.100.9").get(f"/r/{order.number}/")

    assert the_browser(address, action="pay").status_code == 302


def test_who_goes_on_after_paying_is_led_back_to_the_stages(home, wechat):  # noqa: F811
    order = place(a_wish(home))
    the_browser(look(order, "pay/").headers["Location"], action="pay")
    Attempt.objects.update(made_at=makers.LONG_AGO, asked_at=None)

    led = look(order, "pay/")

    assert led.headers["Location"] == f"/r/{order.number}/"
    order.refresh_from_db()
    assert order.state == Order.State.PAID


def test_a_provider_that_is_away_is_said_to_be_and_can_be_tried_again(home, wechat):  # noqa: F811
    order = place(a_wish(home))
    wechat.do("faults", answers=[{"match": "/h5", "status": 500, "code": "SYSTEM_ERROR"}])

    refused, again = look(order, "pay/"), look(order, "pay/")

    assert refused.status_code == 503
    assert b"does not answer" in refused.content
    assert f'href="/r/{order.number}/pay/"'.encode() in refused.content
    assert again.status_code == 302


def test_one_that_was_called_off_leads_nowhere(home, wechat):  # noqa: F811
    order = place(a_wish(home))
    Client().post(f"/r/{order.number}/call-off/")

    assert look(order, "pay/").headers["Location"] == f"/r/{order.number}/"
    assert b"/pay/" not in look(order).content


def test_who_begins_one_recharge_after_the_other_without_a_login_is_stopped_and_who_is_logged_in_is_not(
    home,
    wechat,  # noqa: F811
    monkeypatch,
):
    monkeypatch.setattr(paying, "PER_ADDRESS", replace(paying.PER_ADDRESS, times=2))
    meter = home.room.installations.get().meter

    def begin(n: int, browser: Client) -> int:
        form = {"amount": "50", "channel": "wechat_h5", "key": f"key-of-form-{n}"}
        return browser.post(f"/m/{meter.code}/", form).status_code

    tenant = Client()
    tenant.cookies[visitor.COOKIE] = makers.a_login(home.members.get().user)["Authorization"].removeprefix("Bearer ")

    assert [begin(n, Client()) for n in range(3)] == [302, 302, 400]
    assert begin(3, Client(REMOTE_ADDR="198.51.100.9")) == 302
    assert begin(4, tenant) == 302
    assert Order.objects.count() == 4


def test_who_goes_back_and_chooses_another_amount_is_asked_and_can_have_a_second_recharge(home, wechat):  # noqa: F811
    page, browser = f"/m/{home.room.installations.get().meter.code}/", Client(headers={"Accept-Language": "en"})
    form = {"amount": "50", "channel": "wechat_h5", "key": "key-of-the-form"}
    first, again = browser.post(page, form), browser.post(page, form)

    asked = browser.post(page, form | {"amount": "100"})
    key = re.search(r'name="key" value="([^"]+)"', asked.content.decode())
    assert key
    second = browser.post(page, form | {"amount": "100", "key": key[1]})

    assert first.headers["Location"] == again.headers["Location"]
    assert (asked.status_code, b"another recharge already" in asked.content) == (400, True)
    assert second.status_code == 302
    assert sorted(Order.objects.values_list("amount_fen", flat=True)) == [5_000, 10_000]


def test_a_number_that_no_recharge_has_is_not_found(db):
    for part in ("", "pay/", "stages/"):
        assert Client().get(f"/r/R000000/{part}").status_code == 404
