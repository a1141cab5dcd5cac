"""The WeChat in a box is as strict as the real one, and as unreliable as it is asked to be."""

import json
import signal
import subprocess
import sys
import time
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from wechatpayv3 import WeChatPay, WeChatPayType
from werkzeug.test import Client

from sandbox.keys import MINI_APPID, make_world
from sandbox.payers import CannotPayError
from sandbox.signatures import (
    is_signed,
    unsealed,
    wechat_answer_message,
    wechat_pay_message,
    wechat_request_message,
)
from sandbox.wechat import WeChat, signed_callback
from sandbox.wechat_trades import Trade
from tests.sandbox.conftest import body_json
from tests.sandbox.merchants import WeChatMerchantByHand, verified

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "wechat_signatures.json").read_text())


@pytest.fixture
def merchant(world, wechat):
    wechat.post("login_code", openid="oTenant")
    return WeChatMerchantByHand(world, wechat.url)


def keys_of(world, name="direct"):
    return {k.serial: k for k in (*world.platform, world.wechat[name].public_key, world.foreign)}


def opened(world, came, name="direct"):
    sealed = body_json(came)["resource"]
    sealed = {k: sealed[k] for k in ("nonce", "associated_data", "ciphertext")}
    return json.loads(unsealed(world.wechat[name].apiv3_key, **sealed))


# -- the vendor's published signatures


@pytest.mark.parametrize("vector", VECTORS["signed_by_merchant"], ids=lambda v: v["what"])
def test_what_merchants_sign_is_built_as_the_vendor_published_it(vector):
    key = load_pem_public_key(VECTORS["merchant_public_key"].encode())
    if "prepay_id" in vector:
        package = f"prepay_id={vector['prepay_id']}"
        message = wechat_pay_message(
            appid=vector["appid"], timestamp=vector["timestamp"], nonce=vector["nonce"], package=package
        )
    else:
        fields = {k: vector[k] for k in ("method", "url", "timestamp", "nonce")}
        message = wechat_request_message(**fields, body=vector["body"].encode())

    assert message.decode() == vector["message"]
    assert is_signed(key, message, vector["signature"])
    assert not is_signed(key, message + b" ", vector["signature"])


def test_what_wechat_signs_is_built_as_the_vendor_sent_it():
    key = load_pem_public_key(VECTORS["platform_public_key"].encode())
    vector = VECTORS["signed_by_platform"][0]

    message = wechat_answer_message(timestamp=vector["timestamp"], nonce=vector["nonce"], body=vector["body"].encode())

    assert is_signed(key, message, vector["signature"])
    assert not is_signed(key, message, "WECHATPAY/SIGNTEST/oops")


# -- the keys


def test_the_world_is_made_once_and_its_secrets_are_private(tmp_path):
    first = make_world(tmp_path / "w")
    again = make_world(tmp_path / "w")

    assert again == first == json.loads((tmp_path / "w" / "world.json").read_text())
    secret_files = [first["wechat"]["direct"][f] for f in ("key_file", "apiv3_key_file", "public_key_private_file")]
    secret_files += [first["alipay"]["key"]["app_private_key_file"], first["wechat"]["apps"][MINI_APPID]["secret_file"]]
    assert all(Path(f).stat().st_mode & 0o077 == 0 for f in secret_files)
    assert len(Path(first["wechat"]["direct"]["apiv3_key_file"]).read_bytes()) == 32
    assert "SANDBOX" in first["wechat"]["direct"]["public_key_id"]


# -- the product's SDK against it


@pytest.mark.parametrize("mode", ["public key", "certificate"])
def test_an_independent_sdk_pays_queries_closes_and_reads_the_callback(world, wechat, receiver, tmp_path, mode):
    info = world.info["wechat"]["direct"]
    wechat.post("login_code", openid="oTenant")
    if mode == "certificate":
        wechat.post("faults", callback_key="platform_certificate")
        current = world.info["wechat"]["platform"][0]
        (tmp_path / f"{current['serial']}.pem").write_bytes(Path(current["cert_file"]).read_bytes())
        how = {"cert_dir": str(tmp_path)}
    else:
        how = {"public_key": Path(info["public_key_file"]).read_text(), "public_key_id": info["public_key_id"]}
    sdk = WeChatPay(
        wechatpay_type=WeChatPayType.MINIPROG,
        mchid=info["mchid"],
        private_key=Path(info["key_file"]).read_text(),
        cert_serial_no=info["serial"],
        appid=info["appid"],
        apiv3_key=Path(info["apiv3_key_file"]).read_text(),
        notify_url=receiver.url,
        timeout=(5, 5),
        **how,
    )
    sdk._core._gate_way = wechat.url

    status, text = sdk.pay(
        description="电费充值", out_trade_no="SDK0001", amount={"total": 5000}, payer={"openid": "oTenant"}
    )
    assert (status, list(json.loads(text))) == (200, ["prepay_id"])
    wechat.post("trades/SDK0001/pay", wait=True)

    headers, body = receiver.wait_for(1)[0]
    assert sdk.callback(headers=headers, body=body.decode())["resource"]["amount"]["total"] == 5000
    status, text = sdk.query(out_trade_no="SDK0001")
    assert (status, json.loads(text)["trade_state"]) == (200, "SUCCESS")
    status, text = sdk.close(out_trade_no="SDK0001")
    assert (status, json.loads(text)["code"]) == (400, "ORDER_PAID")
    if mode == "certificate":
        sdk._core._update_certificates()
        assert len(sdk._core._certificates) == 2


# -- requests


def test_prepay_answers_signed_by_the_key_that_the_request_names(world, merchant):
    by_key = merchant.prepay()
    by_certificate = merchant.call(
        "POST",
        "/v3/pay/transactions/jsapi",
        merchant.prepay_body(),
        headers={"Wechatpay-Serial": world.platform[0].serial},
    )

    assert by_key.headers["Wechatpay-Serial"] == merchant.info["public_key_id"]
    assert by_certificate.headers["Wechatpay-Serial"] == world.platform[0].serial
    assert merchant.verifies(by_key)
    assert merchant.verifies(by_certificate)
    assert by_key.json()["prepay_id"] != by_certificate.json()["prepay_id"]


def test_the_partner_queries_and_closes_with_both_numbers(world, wechat):
    wechat.post("login_code", openid="oTenant")
    partner = WeChatMerchantByHand(world, wechat.url, "partner")

    assert partner.prepay("PARTNER01").status_code == 200
    assert partner.query("PARTNER01").json()["sub_mchid"] == partner.info["sub_mchid"]
    alone = partner.call("GET", f"/v3/pay/partner/transactions/out-trade-no/PARTNER01?sp_mchid={partner.info['mchid']}")
    assert alone.json()["code"] == "PARAM_ERROR"
    closed = partner.close("PARTNER01")
    assert closed.status_code == 204
    assert partner.verifies(closed)
    assert partner.close("PARTNER01").status_code == 204
    assert partner.query("PARTNER01").json()["trade_state"] == "CLOSED"


@pytest.mark.parametrize(
    ("headers", "changes", "expected"),
    [
        ({"Accept": ""}, {}, (400, "INVALID_REQUEST")),
        ({"User-Agent": ""}, {}, (400, "INVALID_REQUEST")),
        ({"Authorization": ""}, {}, (401, "SIGN_ERROR")),
        ({"Authorization": 'WECHATPAY2-SHA256-RSA2048 mchid="1"'}, {}, (401, "SIGN_ERROR")),
        ({}, {"off_s": -360}, (401, "SIGN_ERROR")),
        ({}, {"off_s": 360}, (401, "SIGN_ERROR")),
        ({}, {"serial": "ABC"}, (401, "SIGN_ERROR")),
        ({}, {"key": "foreign"}, (401, "SIGN_ERROR")),
        ({"Wechatpay-Serial": "PUB_KEY_ID_OTHER"}, {}, (400, "PARAM_ERROR")),
    ],
)
def test_a_request_that_the_real_one_would_refuse_is_refused_unsigned(world, merchant, headers, changes, expected):
    if changes.get("key"):
        changes = {"key": world.foreign.private}
    if "off_s" in changes:
        changes = {"at": time.time() + changes["off_s"]}  # counted from now: tests are collected minutes before

    answer = merchant.call("POST", "/v3/pay/transactions/jsapi", merchant.prepay_body(), headers=headers, **changes)

    assert (answer.status_code, answer.json()["code"]) == expected
    assert "Wechatpay-Signature" not in answer.headers


def in_days(days):
    return (datetime.now(UTC) + timedelta(days=days)).isoformat(timespec="seconds")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"out_trade_no": "short"}, "PARAM_ERROR"),
        ({"out_trade_no": "with space"}, "PARAM_ERROR"),
        ({"out_trade_no": "x" * 33}, "PARAM_ERROR"),
        ({"description": None}, "PARAM_ERROR"),
        ({"description": "长" * 128}, "PARAM_ERROR"),
        ({"attach": "x" * 129}, "PARAM_ERROR"),
        ({"amount": {"total": 0}}, "PARAM_ERROR"),
        ({"amount": {"total": 50.0}}, "PARAM_ERROR"),
        ({"amount": {"total": True}}, "PARAM_ERROR"),
        ({"amount": {"total": 1, "currency": "USD"}}, "PARAM_ERROR"),
        ({"notify_url": "https://pay.example.com/notify?m=1"}, "PARAM_ERROR"),
        ({"notify_url": "http://pay.example.com/notify"}, "PARAM_ERROR"),
        ({"payer": {"openid": "oStranger"}}, "PARAM_ERROR"),
        ({"payer": None}, "PARAM_ERROR"),
        ({"time_expire": "2030-01-01 00:00:00"}, "PARAM_ERROR"),
        ({"time_expire": "soon"}, "PARAM_ERROR"),
        ({"time_expire": in_days(91)}, "PARAM_ERROR"),
        ({"appid": "wxsandbox000000002"}, "APPID_MCHID_NOT_MATCH"),
        ({"mchid": "1900000209"}, "INVALID_REQUEST"),
    ],
)
def test_a_prepay_against_the_rules_names_its_code(merchant, changes, code):
    answer = merchant.prepay(**changes)

    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_a_number_is_good_again_only_with_the_same_parameters_and_unpaid(wechat, merchant):
    first = merchant.prepay().json()["prepay_id"]

    assert merchant.prepay().json()["prepay_id"] != first
    other = merchant.prepay(amount={"total": 1})
    assert (other.status_code, other.json()["code"]) == (403, "OUT_TRADE_NO_USED")
    wechat.post("trades/SANDBOX001/pay", notify=False)
    assert merchant.prepay().json()["code"] == "ORDER_PAID"


def test_a_time_to_pay_that_is_over_is_lifted_to_a_minute_and_nobody_pays_after_it(wechat, merchant):
    merchant.prepay(time_expire=in_days(-1))

    trade = wechat.get("trades/SANDBOX001")
    assert 55 < trade["expires_at"] - time.time() <= 60
    late = trade["expires_at"] + 1
    with pytest.raises(CannotPayError, match="EXPIRED"):
        Trade(**trade).pay(now=late, amount_fen=None, transaction_id=None, paid_at=None, force=False)


def test_query_by_transaction_id_and_of_an_unknown_number(wechat, merchant):
    merchant.prepay()
    wechat.post("trades/SANDBOX001/pay", notify=False, transaction_id="4200000000202611230000000001", amount_fen=4999)

    found = merchant.call("GET", f"/v3/pay/transactions/id/4200000000202611230000000001?mchid={merchant.info['mchid']}")
    assert found.json()["amount"]["total"] == 4999
    assert merchant.query("NOSUCHNUMBER").json()["code"] == "ORDER_NOT_EXIST"
    foreign = merchant.call("GET", "/v3/pay/transactions/out-trade-no/SANDBOX001?mchid=1900000209")
    assert foreign.json()["code"] == "INVALID_REQUEST"
    wechat.post("trades/SANDBOX001/refund", amount_fen=1)
    assert merchant.query().json()["trade_state"] == "REFUND"


def test_a_number_with_a_bar_is_verified_over_the_bytes_that_were_sent(merchant):
    merchant.prepay("BAR|001")

    assert merchant.query("BAR%7C001").status_code == 200


def test_fifty_merchants_at_once_get_fifty_prepays(merchant):
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda n: merchant.prepay(f"PARALLEL{n:03d}"), range(50)))

    assert {a.status_code for a in answers} == {200}
    assert len({a.json()["prepay_id"] for a in answers}) == 50


# -- callbacks


def test_a_callback_is_sealed_signed_and_repeated_until_it_is_accepted(world, wechat, merchant, receiver):
    receiver.answers = [(500, "{}"), (503, "{}"), (204, "")]
    merchant.prepay(notify_url=receiver.url)

    wechat.post("trades/SANDBOX001/pay")

    came = receiver.wait_for(3)
    assert len({c[0]["Wechatpay-Signature"] for c in came}) == 3
    assert len({c[0]["Wechatpay-Nonce"] for c in came}) == 3
    assert len({body_json(c)["id"] for c in came}) == 1
    assert all(verified(*c, keys_of(world)) for c in came)
    paid = opened(world, came[0])
    assert (paid["amount"]["total"], paid["trade_state"], paid["payer"]) == (5000, "SUCCESS", {"openid": "oTenant"})
    time.sleep(0.3)
    [entry] = wechat.get("callbacks?out_trade_no=SANDBOX001")["callbacks"]
    assert [t["status"] for t in entry["tries"]] == [500, 503, 204]
    assert entry["state"] == "accepted"


def test_a_200_with_a_fail_body_counts_as_accepted(wechat, merchant, receiver):
    receiver.answers = [(200, '{"code":"FAIL"}')]
    merchant.prepay(notify_url=receiver.url)

    [sent] = wechat.post("trades/SANDBOX001/pay", wait=True)["callbacks"]

    assert sent["state"] == "accepted"


def test_a_probe_never_verifies_and_the_next_try_does(world, wechat, merchant, receiver):
    receiver.answers = [(401, "{}"), (200, "")]
    wechat.post("faults", callbacks="signtest")
    merchant.prepay(notify_url=receiver.url)

    wechat.post("trades/SANDBOX001/pay")

    probe, real = receiver.wait_for(2)
    assert probe[0]["Wechatpay-Signature"].startswith("WECHATPAY/SIGNTEST/")
    assert not verified(*probe, keys_of(world))
    assert verified(*real, keys_of(world))


def test_callbacks_are_held_doubled_or_never_sent_on_request(wechat, merchant, receiver):
    for number in ("HELD001", "TWICE001", "NEVER001", "THRICE001"):
        merchant.prepay(number, notify_url=receiver.url)
    wechat.post("faults", callbacks="hold")
    wechat.post("trades/HELD001/pay", wait=False)
    wechat.post("faults", callbacks="twice")
    twice = wechat.post("trades/TWICE001/pay", wait=True)["callbacks"]
    wechat.post("faults", callbacks="never")
    never = wechat.post("trades/NEVER001/pay", wait=True)["callbacks"]
    assert (len(twice), len(never), len(receiver.came)) == (2, 0, 2)

    wechat.post("callbacks/release", out_trade_no="HELD001", wait=True)

    assert len(receiver.came) == 3
    wechat.post("faults", callbacks="send")
    assert len(wechat.post("trades/THRICE001/pay", notify=3, delay_ms=20, wait=True)["callbacks"]) == 3
    assert wechat.post("trades/NEVER001/notify", wait=True)["callbacks"][0]["state"] == "accepted"


def test_the_callback_can_come_before_the_create_call_has_returned(wechat, merchant, receiver):
    wechat.post("faults", pay_before_answer=True)

    answer = merchant.prepay(notify_url=receiver.url)

    assert answer.status_code == 200
    assert len(receiver.came) == 1


def test_both_keys_sign_callbacks_during_the_switch(world, wechat, merchant, receiver):
    wechat.post("faults", callback_key="alternating")
    for n in range(20):
        merchant.prepay(f"SWITCH{n:03d}", notify_url=receiver.url)
        wechat.post(f"trades/SWITCH{n:03d}/pay")

    came = receiver.wait_for(20)

    serials = {c[0]["Wechatpay-Serial"] for c in came}
    assert serials == {world.platform[0].serial, world.wechat["direct"].public_key.serial}
    assert all(verified(*c, keys_of(world)) for c in came)


@pytest.mark.parametrize(
    ("wanted", "verifies", "opens"),
    [
        ({}, True, True),
        ({"sign_with": "platform_certificate"}, True, True),
        ({"sign_with": "foreign"}, True, True),  # under its own serial, which no merchant knows
        ({"sign_with": "foreign", "serial": "platform"}, False, True),
        ({"alter": "body"}, False, True),
        ({"alter": "signature"}, False, True),
        ({"alter": "signtest"}, False, True),
        ({"alter": "tag"}, True, False),
        ({"alter": "ciphertext"}, True, False),
        ({"resource_nonce": "short"}, True, False),
        ({"drop_headers": ["wechatpay-signature"]}, False, True),
    ],
)
def test_callbacks_are_made_to_order(world, wechat, wanted, verifies, opens):
    if wanted.get("serial"):
        wanted = wanted | {"serial": world.platform[0].serial}

    made = wechat.post("callbacks/craft", out_trade_no="CRAFT001", amount_fen=5000, **wanted)

    came = (made["headers"], b64decode(made["body_base64"]))
    assert verified(*came, keys_of(world)) == verifies
    if opens:
        assert opened(world, came)["out_trade_no"] == "CRAFT001"
    else:
        with pytest.raises((InvalidTag, ValueError)):
            opened(world, came)


def test_fields_clock_and_headers_of_a_crafted_callback_are_as_told(world, receiver, wechat):
    headers, body = signed_callback(
        world,
        out_trade_no="CRAFT001",
        amount_fen=5000,
        merchant="partner",
        resource={"sub_mchid": "1", "amount": {"currency": "USD"}, "attach": None},
        event={"event_type": "REFUND.SUCCESS"},
        at=time.time() - 360,
        headers={"Content-Type": "text/plain"},
    )

    paid = opened(world, (headers, body), "partner")
    assert (paid["sub_mchid"], paid["amount"]["currency"], paid["amount"]["total"]) == ("1", "USD", 5000)
    assert "attach" not in paid
    assert json.loads(body)["event_type"] == "REFUND.SUCCESS"
    assert time.time() - int(headers["Wechatpay-Timestamp"]) > 350
    assert headers["Content-Type"] == "text/plain"
    sent = wechat.post("callbacks/craft", out_trade_no="C00001", amount_fen=1, at_offset_s=-360, send_to=receiver.url)
    assert sent["answer"]["status"] == 200
    assert wechat.post("callbacks/craft", status=400, out_trade_no="C00001")["error"]


# -- faults of answers


def test_answers_fail_are_late_or_unsigned_as_often_as_asked(wechat, merchant):
    match = "/v3/pay/transactions/jsapi"
    wechat.post("faults", answers=[{"match": match, "status": 429, "code": "FREQUENCY_LIMITED"}])
    assert merchant.prepay().json()["code"] == "FREQUENCY_LIMITED"
    wechat.post("faults", answers=[{"match": match, "status": 500, "work_done": True}])
    assert merchant.prepay().status_code == 500
    assert wechat.get("trades/SANDBOX001")["state"] == "NOTPAY"
    wechat.post("faults", answers=[{"match": match, "html": "<h1>502</h1>"}])
    assert merchant.prepay().status_code == 502
    for signature in ("none", "altered", "signtest", "foreign"):
        wechat.post("faults", answers=[{"match": match, "signature": signature, "delay_ms": 1}])
        assert not merchant.verifies(merchant.prepay()), signature
    wechat.post("faults", answers=[{"match": match, "drop": True}])
    with pytest.raises(requests.ConnectionError):
        merchant.prepay()
    assert merchant.verifies(merchant.prepay())
    assert wechat.post("faults", status=400, callbacks="no such fault")["error"]
    assert wechat.post("faults", status=400, answers=[{"no": "match"}])["error"]


def test_a_merchant_without_certificates_is_told_so(wechat, merchant):
    assert len(merchant.call("GET", "/v3/certificates").json()["data"]) == 2
    wechat.post("faults", certificates="none")

    assert merchant.call("GET", "/v3/certificates").json()["code"] == "RESOURCE_NOT_EXISTS"


# -- the payer


def test_wechat_pays_only_what_the_merchant_signed_for_this_payer(wechat, merchant):
    good = merchant.pay_fields(merchant.prepay().json()["prepay_id"]) | {"appId": MINI_APPID}

    def asked(**changes):
        return wechat.post("request_payment", **(good | changes))["errMsg"]

    assert "签名" in asked(paySign="AAAA")
    assert "签名" in asked(timeStamp="1")
    assert "签名" in asked(signType="MD5")
    assert "签名" in asked(appId="wxsandbox000000002")
    assert "不一致" in asked(openid="oStranger")
    assert asked(action="cancel") == "requestPayment:fail cancel"
    assert asked(openid="oTenant", notify=False) == "requestPayment:ok"
    assert "SUCCESS" in asked()


def test_nobody_pays_a_closed_order_unless_forced(wechat, merchant):
    merchant.prepay()
    merchant.close()

    assert "CLOSED" in wechat.post("trades/SANDBOX001/pay", status=409)["refused"]
    assert wechat.post("trades/SANDBOX001/pay", force=True, notify=False)["trade"]["state"] == "SUCCESS"
    assert wechat.post("trades/NOSUCH/pay", status=404)


# -- mini-program


def get(http, wechat, path, **params):
    return http.get(wechat.url + path, params=params).json()


def test_a_login_code_is_good_once_for_its_app(world, wechat, http):
    secret = world.app_secrets[MINI_APPID]
    given = wechat.post("login_code", openid="oTenant", unionid="u1", phone="13800000000")
    asked = {"appid": MINI_APPID, "secret": secret, "js_code": given["code"], "grant_type": "authorization_code"}

    assert get(http, wechat, "/sns/jscode2session", **asked | {"secret": "no"})["errcode"] == 40125
    assert get(http, wechat, "/sns/jscode2session", **asked | {"appid": "no"})["errcode"] == 40013
    session = get(http, wechat, "/sns/jscode2session", **asked)
    assert (session["openid"], session["unionid"]) == ("oTenant", "u1")
    assert get(http, wechat, "/sns/jscode2session", **asked)["errcode"] == 40163
    assert get(http, wechat, "/sns/jscode2session", **asked | {"js_code": "x"})["errcode"] == 40029


def stable(http, wechat, world, **changes):
    asked = {"grant_type": "client_credential", "appid": MINI_APPID, "secret": world.app_secrets[MINI_APPID]}
    return http.post(wechat.url + "/cgi-bin/stable_token", json=asked | changes).json()


def test_the_stable_token_is_one_for_all_and_the_other_call_ends_its_own(world, wechat, http):
    first = stable(http, wechat, world)["access_token"]
    asked = {"appid": MINI_APPID, "secret": world.app_secrets[MINI_APPID], "grant_type": "client_credential"}
    old = get(http, wechat, "/cgi-bin/token", **asked)["access_token"]
    new = get(http, wechat, "/cgi-bin/token", **asked)["access_token"]

    def managed(token):
        path = f"/wxa/sec/order/is_trade_managed?access_token={token}"
        return http.post(wechat.url + path, json={"appid": MINI_APPID}).json()["errcode"]

    assert stable(http, wechat, world)["access_token"] == first
    assert (managed(first), managed(old), managed(new)) == (0, 40001, 0)
    forced = stable(http, wechat, world, force_refresh=True)["access_token"]
    assert forced != first
    assert managed(first) == 40001
    assert stable(http, wechat, world, force_refresh=True)["errcode"] == 45011
    assert len(wechat.get("requests?path=/cgi-bin/token")["requests"]) == 2


def test_a_phone_number_is_given_once_for_its_code(world, wechat, http):
    token = stable(http, wechat, world)["access_token"]
    given = wechat.post("login_code", openid="oTenant", phone="13800000000")
    path = f"{wechat.url}/wxa/business/getuserphonenumber?access_token={token}"

    answer = http.post(path, json={"code": given["phone_code"]}).json()

    assert answer["phone_info"]["purePhoneNumber"] == "13800000000"
    assert http.post(path, json={"code": given["phone_code"]}).json()["errcode"] == 40163
    assert http.post(path, json={"code": given["code"]}).json()["errcode"] == 40029
    assert http.post(path, data="no").json()["errcode"] == 47001


def test_money_is_frozen_until_the_shipping_information_comes(world, wechat, http, merchant):
    token = stable(http, wechat, world)["access_token"]
    merchant.prepay()

    def ship(**changes):
        usual = {
            "order_key": {"order_number_type": 1, "mchid": merchant.info["mchid"], "out_trade_no": "SANDBOX001"},
            "logistics_type": 3,
            "delivery_mode": 1,
            "shipping_list": [{"item_desc": "电费充值 50.00 元"}],
            "upload_time": "2026-11-23T01:02:03.000+08:00",
            "payer": {"openid": "oTenant"},
        }
        path = f"{wechat.url}/wxa/sec/order/upload_shipping_info?access_token={token}"
        return http.post(path, json=usual | changes).json()["errcode"]

    assert ship() == 10060001
    paid = wechat.post("trades/SANDBOX001/pay", notify=False)["trade"]
    assert paid["money"] == "frozen"
    wechat.post("faults", answers=[{"match": "upload_shipping_info", "code": "10060001", "status": 200}])
    assert [ship(), ship(shipping_list=[]), ship(delivery_mode=None)] == [10060001, 268485228, 268485224]
    assert [ship(logistics_type=9), ship(upload_time="now")] == [268485222, 268485216]
    assert ship(payer={"openid": "oStranger"}) == 10060024
    assert ship() == 0
    assert wechat.get("trades/SANDBOX001")["money"] == "shipped"
    assert ship() == 10060023
    by_id = {"order_number_type": 2, "transaction_id": paid["transaction_id"]}
    assert ship(order_key=by_id, shipping_list=[{"item_desc": "again"}]) == 0
    assert ship(shipping_list=[{"item_desc": "and again"}]) == 10060003
    wechat.post("trades/SANDBOX001/refund")
    assert ship() == 10060004


# -- the process


def test_the_control_api_answers_this_machine_only(world):
    box = WeChat(world)
    try:
        client = Client(box)
        assert client.get("/sandbox/trades", environ_base={"REMOTE_ADDR": "10.0.0.7"}).status_code == 403
        assert client.get("/sandbox/trades", environ_base={"REMOTE_ADDR": "127.0.0.1"}).status_code == 200
        assert client.get("/nowhere", environ_base={"REMOTE_ADDR": "127.0.0.1"}).status_code == 404
    finally:
        box.close()


def test_reset_forgets_everything(wechat, merchant):
    merchant.prepay()

    wechat.post("reset")

    assert wechat.get("trades") == {"trades": []}


def start(world, tmp_path):
    command = [sys.executable, "-m", "sandbox.wechat", "--world", str(world.folder), "--port", "0"]
    process = subprocess.Popen(
        [*command, "--speed", "300", "--state", str(tmp_path / "wechat.json")], stdout=subprocess.PIPE, text=True
    )
    return process, json.loads(process.stdout.readline())["url"]


def test_the_server_ends_on_sigterm_and_continues_with_its_state(world, tmp_path, receiver, http):
    process, url = start(world, tmp_path)
    with process:
        http.post(f"{url}/sandbox/login_code", json={"openid": "oTenant"})
        WeChatMerchantByHand(world, url).prepay(notify_url=receiver.url)
        http.post(f"{url}/sandbox/faults", json={"callbacks": "hold"})
        http.post(f"{url}/sandbox/trades/SANDBOX001/pay")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0

    process, url = start(world, tmp_path)
    with process:
        assert WeChatMerchantByHand(world, url).query().json()["trade_state"] == "SUCCESS"
        http.post(f"{url}/sandbox/callbacks/release")
        receiver.wait_for(1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
