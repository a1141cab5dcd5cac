"""WeChat tells us who uses its browser: one trip there and back, and nobody can write the answer themselves."""

from __future__ import annotations

import re
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from django.core import signing
from django.test import Client
from django.utils import timezone

from payments.models import Attempt
from portal.pages import wechat_back
from sandbox.keys import OFFICIAL_APPID
from tests import makers

pytestmark = pytest.mark.django_db
IN_WECHAT = "Mozilla/5.0 (Linux; Android 14) Mobile MicroMessenger/8.0.49"


@pytest.fixture
def official(wechat, world, settings):
    settings.WECHAT_OFFICIAL_APP_ID = OFFICIAL_APPID
    settings.WECHAT_OFFICIAL_SECRET_REF = f"file:{world.info['wechat']['apps'][OFFICIAL_APPID]['secret_file']}"
    settings.WECHAT_OAUTH_URL = wechat.url
    return wechat


@pytest.fixture
def meter():
    room = makers.a_room()
    makers.a_tenancy(room=room)
    makers.a_merchant(place=room.property, app_id=OFFICIAL_APPID)
    found = makers.a_meter(room=room)
    found.refresh_from_db()
    return found


def a_browser() -> Client:
    return Client(headers={"User-Agent": IN_WECHAT, "Accept-Language": "en"})


def there_and_back(browser: Client, path: str) -> str:
    """Follows the way to WeChat; the address on our side that WeChat leads back to."""
    sent_to = browser.get(path).headers["Location"]
    back = requests.get(sent_to, timeout=10, allow_redirects=False).headers["Location"]
    parts = urlsplit(back)
    return f"{parts.path}?{parts.query}"


def test_it_is_one_trip_and_then_the_page_stays(official, meter):
    browser = a_browser()
    back = browser.get(there_and_back(browser, f"/m/{meter.code}/"))

    page = browser.get(back.headers["Location"])

    assert back.headers["Location"] == f"/m/{meter.code}/"
    cookie = back.cookies[wechat_back.COOKIE]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
    assert page.status_code == 200
    assert "oSANDBOX" not in page.content.decode()


def test_who_came_is_who_pays(official, meter):
    browser = a_browser()
    page = browser.get(browser.get(there_and_back(browser, f"/m/{meter.code}/")).headers["Location"])
    key = re.search(r'name="key"\s+value="([^"]+)"', page.content.decode())
    assert key, page.content

    placed = browser.post(f"/m/{meter.code}/", {"amount": "50", "channel": "wechat_jsapi", "key": key[1]})

    assert placed.headers["Location"].startswith("/r/R")
    attempt = Attempt.objects.get()
    assert attempt.payer.startswith("oSANDBOX")
    assert (attempt.app_id, attempt.order.user) == (OFFICIAL_APPID, None)


def test_a_code_that_comes_twice_says_so_and_offers_another_try(official, meter):
    browser = a_browser()
    back = there_and_back(browser, f"/m/{meter.code}/")
    browser.get(back)

    again = a_browser().get(back)

    assert again.status_code == 503
    assert f"/m/{meter.code}/" in again.content.decode()
    assert wechat_back.COOKIE not in again.cookies


@pytest.mark.parametrize("to", ["", "x", "/m/1/", "https://evil.test/"])
def test_an_address_to_go_on_to_that_we_did_not_sign_leads_to_the_front(official, to):
    answer = a_browser().get("/wechat/back/", {"to": to, "code": "c"})

    assert answer.headers["Location"] == "/"
    assert official_was_not_asked(official)


@pytest.mark.parametrize("to", ["https://evil.test/", "//evil.test/", "javascript:alert(1)"])
def test_it_leads_to_our_own_pages_alone_even_signed(official, to):
    signed = signing.dumps(to, salt=wechat_back.STATE_SALT, compress=True)

    assert a_browser().get("/wechat/back/", {"to": signed, "code": "c"}).headers["Location"] == "/"


@pytest.mark.parametrize(
    "cookie",
    [
        "oSANDBOXsomebodyelse",
        signing.dumps([OFFICIAL_APPID, "o-1"], salt="another purpose"),
        signing.dumps(["wx-another-account", "o-1"], salt=wechat_back.SALT),
    ],
    ids=["plain", "signed for something else", "of another account"],
)
def test_a_cookie_that_we_did_not_write_for_this_account_is_asked_about_again(official, meter, cookie):
    browser = a_browser()
    browser.cookies[wechat_back.COOKIE] = cookie

    sent_to = urlsplit(browser.get(f"/m/{meter.code}/").headers["Location"])

    assert sent_to.path == "/connect/oauth2/authorize"
    assert parse_qs(sent_to.query)["scope"] == ["snsapi_base"]


def test_without_an_official_account_the_page_is_there_without_wechats_own_way(meter, settings):
    settings.WECHAT_OFFICIAL_APP_ID = settings.WECHAT_OFFICIAL_SECRET_REF = ""

    page = a_browser().get(f"/m/{meter.code}/")

    assert page.status_code == 200
    assert b"wechat_jsapi" not in page.content


def test_the_way_back_is_open_for_ten_minutes(official, meter, monkeypatch):
    browser = a_browser()
    back = there_and_back(browser, f"/m/{meter.code}/")
    late = (timezone.now() + timedelta(seconds=wechat_back.STATE_S + 5)).timestamp()
    monkeypatch.setattr(signing.time, "time", lambda: late)

    assert browser.get(back).headers["Location"] == "/"


def official_was_not_asked(official) -> bool:
    asked = requests.get(f"{official.url}/sandbox/requests?path=/sns/", timeout=10).json()
    return not asked["requests"]
