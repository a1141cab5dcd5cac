"""WeChat for web pages in a box: who opens them, and the page on which a phone's browser pays."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest

from sandbox.keys import MINI_APPID, OFFICIAL_APPID
from sandbox.wechat_cashier import ADDRESS_VALID_S
from tests.sandbox.conftest import body_json
from tests.sandbox.merchants import WeChatMerchantByHand
from tests.sandbox.test_wechat import opened

BACK = "https://pay.example.com/r/1/?a=b"
SCENE = {"payer_client_ip": "203.0.113.7", "h5_info": {"type": "Wap"}}
REFERER = {"Referer": "https://pay.example.com/"}


@pytest.fixture
def merchant(world, wechat):
    return WeChatMerchantByHand(world, wechat.url)


def an_order(merchant, number="H50001", **changes):
    body = merchant.prepay_body(number, scene_info=SCENE, **changes)
    del body["payer"]
    return {field: value for field, value in body.items() if value is not None}


def h5(merchant, *, base="/v3/pay/transactions", **changes):
    return merchant.call("POST", f"{base}/h5", an_order(merchant, **changes))


def authorize(http, wechat, **changes):
    asked = {
        "appid": OFFICIAL_APPID,
        "redirect_uri": BACK,
        "response_type": "code",
        "scope": "snsapi_base",
        "state": "s1",
    }
    return http.get(f"{wechat.url}/connect/oauth2/authorize", params=asked | changes, allow_redirects=False)


def code_in(answer):
    return parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]


def who_came(http, wechat, world, code, **changes):
    asked = {
        "appid": OFFICIAL_APPID,
        "secret": world.app_secrets[OFFICIAL_APPID],
        "code": code,
        "grant_type": "authorization_code",
    }
    return http.get(f"{wechat.url}/sns/oauth2/access_token", params=asked | changes).json()


# -- who opens a page


def test_the_browser_comes_straight_back_with_a_code_its_state_and_what_the_address_had(http, wechat):
    back = authorize(http, wechat)

    query = parse_qs(urlsplit(back.headers["Location"]).query)
    assert back.status_code == 302
    assert back.headers["Location"].startswith("https://pay.example.com/r/1/?")
    assert (query["a"], query["state"]) == (["b"], ["s1"])


def test_one_browser_is_one_person_and_another_is_another(http, wechat, world):
    first = who_came(http, wechat, world, code_in(authorize(http, wechat)))
    again = who_came(http, wechat, world, code_in(authorize(http, wechat)))
    http.cookies.clear()
    other = who_came(http, wechat, world, code_in(authorize(http, wechat)))

    assert first["openid"] == again["openid"] != other["openid"]
    assert first["scope"] == "snsapi_base"


def test_a_code_is_good_once_and_for_its_app_alone(http, wechat, world):
    code, mini = code_in(authorize(http, wechat)), code_in(authorize(http, wechat))
    who_came(http, wechat, world, code)

    assert who_came(http, wechat, world, code)["errcode"] == 40163
    assert who_came(http, wechat, world, "0nobodys")["errcode"] == 40029
    assert (
        who_came(http, wechat, world, mini, appid=MINI_APPID, secret=world.app_secrets[MINI_APPID])["errcode"] == 40029
    )
    assert who_came(http, wechat, world, mini, secret="wrong")["errcode"] == 40125
    assert who_came(http, wechat, world, mini, grant_type="client_credential")["errcode"] == 40002


@pytest.mark.parametrize(
    "wrong",
    [{"appid": "wx0"}, {"redirect_uri": "/r/1/"}, {"response_type": "token"}, {"scope": "snsapi_userinfo"}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_browser_that_was_sent_wrongly_does_not_come_back(http, wechat, wrong):
    assert authorize(http, wechat, **wrong).status_code == 400


# -- the page


def visit(http, url, *, action="pay", referer=None):
    headers = REFERER if referer is None else {"Referer": referer} if referer else {}
    page = http.get(url, headers=headers)
    if page.status_code != 200:
        return page
    return http.post(url, data={"action": action}, allow_redirects=False)


def test_whoever_opens_it_pays_and_the_merchant_is_called_back(http, wechat, merchant, receiver, world):
    address = h5(merchant, notify_url=receiver.url).json()["h5_url"]

    page = http.get(address, headers=REFERER)
    back = visit(http, f"{address}&redirect_url=https%3A%2F%2Fpay.example.com%2Fr%2F1%2F")

    assert "¥50.00" in page.text
    assert back.headers["Location"] == "https://pay.example.com/r/1/"
    told = opened(world, receiver.wait_for(1)[0])
    assert (told["trade_type"], told["trade_state"], told["amount"]["total"]) == ("MWEB", "SUCCESS", 5000)
    assert body_json(receiver.wait_for(1)[0])["event_type"] == "TRANSACTION.SUCCESS"
    assert merchant.query("H50001").json()["trade_type"] == "MWEB"


def test_not_now_leads_back_and_pays_nothing(http, wechat, merchant):
    address = h5(merchant).json()["h5_url"]

    back = visit(http, f"{address}&redirect_url=https%3A%2F%2Fpay.example.com%2F", action="cancel")

    assert back.headers["Location"] == "https://pay.example.com/"
    assert merchant.query("H50001").json()["trade_state"] == "NOTPAY"


def test_it_leads_to_addresses_alone(http, wechat, merchant):
    address = h5(merchant).json()["h5_url"]

    assert visit(http, f"{address}&redirect_url=javascript%3Aalert(1)").status_code == 200


def test_it_is_good_for_five_minutes_and_a_new_one_is_had_for_the_asking(http, wechat, merchant, monkeypatch):
    from sandbox import wechat_cashier

    old = h5(merchant).json()["h5_url"]
    at = wechat_cashier.time.time() + ADDRESS_VALID_S + 1
    monkeypatch.setattr(wechat_cashier.time, "time", lambda: at)

    assert visit(http, old).status_code == 400


@pytest.mark.parametrize("referer", ["", "about:blank"])
def test_it_wants_to_know_from_which_page_somebody_came(http, wechat, merchant, referer):
    assert visit(http, h5(merchant).json()["h5_url"], referer=referer).status_code == 400


def test_what_was_ordered_for_wechats_own_browser_is_not_paid_in_another(http, wechat, merchant):
    wechat.post("login_code", openid="oTenant")
    prepay_id = merchant.prepay("JSAPI0001").json()["prepay_id"]
    address = h5(merchant).json()["h5_url"].split("?")[0]

    assert visit(http, f"{address}?prepay_id={prepay_id}&package=1").status_code == 400


def test_what_is_closed_or_paid_is_not_paid_again(http, wechat, merchant):
    closed, paid = (h5(merchant, number=number).json()["h5_url"] for number in ("H50001", "H50002"))
    merchant.close("H50001")
    visit(http, paid)

    assert [visit(http, address).status_code for address in (closed, paid)] == [400, 400]
    assert h5(merchant, number="H50001").json()["code"] == "ORDER_CLOSED"
    assert h5(merchant, number="H50002").json()["code"] == "ORDER_PAID"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"scene_info": None}, "PARAM_ERROR"),
        ({"scene_info": SCENE | {"payer_client_ip": "somewhere"}}, "PARAM_ERROR"),
        ({"scene_info": SCENE | {"h5_info": {"type": "Desk"}}}, "PARAM_ERROR"),
        ({"appid": "wx0000000000000000"}, "APPID_MCHID_NOT_MATCH"),
    ],
)
def test_an_order_says_where_the_payer_is(merchant, changes, code):
    body = an_order(merchant) | changes
    answer = merchant.call("POST", "/v3/pay/transactions/h5", {k: v for k, v in body.items() if v is not None})

    assert (answer.status_code, json.loads(answer.text)["code"]) == (400, code)


def test_another_place_of_the_payer_is_another_order(merchant):
    h5(merchant)
    elsewhere = an_order(merchant) | {"scene_info": SCENE | {"payer_client_ip": "198.51.100.9"}}

    answer = merchant.call("POST", "/v3/pay/transactions/h5", elsewhere)

    assert (answer.status_code, answer.json()["code"]) == (403, "OUT_TRADE_NO_USED")
